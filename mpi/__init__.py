"""The master patient index, files in the order they run."""
