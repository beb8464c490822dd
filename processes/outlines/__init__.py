"""Building outlines: a mask of buildings, and the polygons behind it."""
