"""Make artifacts: a file a format. `levels.py` names the levels."""
