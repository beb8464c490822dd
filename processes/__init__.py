"""PROCESSES: the explicit list of everything that can be asked for."""
