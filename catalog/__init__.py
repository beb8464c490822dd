"""What is remembered: products as STAC Items in pgstac, and their footprints in PostGIS."""
