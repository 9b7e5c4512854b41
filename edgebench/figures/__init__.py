"""Raw readings to figures: pure, so that any figure can be derived again."""
