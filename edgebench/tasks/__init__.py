"""Accuracy tasks: load the items, score them. Knows no runtime but through its session."""
