"""Artifacts x settings x devices x work to cases, and the registry of devices."""
