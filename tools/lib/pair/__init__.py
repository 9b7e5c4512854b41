"""A teacher and its students: what they read, what they are, how they learn."""
