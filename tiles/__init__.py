"""What a map or a globe draws: raster tiles, vector tiles, 3D Tiles, and the viewer page."""
