"""Two or more images and their sensor models to surface heights. Knows of no process."""
