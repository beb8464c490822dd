"""What every process shares: values, doors and errors. Knows of no process."""
