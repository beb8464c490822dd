"""Two or more images and their sensor models to surface heights. Knows of no process."""

from processes.core.machine_code import load_at_once

load_at_once()
