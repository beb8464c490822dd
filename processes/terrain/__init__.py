"""The ground under everything: which cells of a surface model are ground, and what lies between."""
