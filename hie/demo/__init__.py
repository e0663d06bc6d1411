"""A synthetic state that feeds the hub, and the summary of what came out."""
