"""Roofs and solids: heights under an outline, blocks, simple roofs, and whether they are valid."""
