"""How good a product is, in numbers: heights, footprints, roofs, accuracy classes."""
