"""What each cell is: building, vegetation, water, road or ground."""
