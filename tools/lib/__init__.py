"""What the tools share; nothing here is run by itself."""
