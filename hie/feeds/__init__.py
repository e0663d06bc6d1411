"""Whether every source still speaks: expected intervals, late sources, what staff see of a feed."""
