"""Intervals and tests, pure: numbers in, estimates out."""
