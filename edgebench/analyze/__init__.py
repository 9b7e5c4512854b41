"""Judge runs: summarize, compare, pick. Pure functions over records; nothing is measured here."""
