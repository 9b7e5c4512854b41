"""Cases to runs: the order, the workers, races and texts, the store."""
