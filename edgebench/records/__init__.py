"""Records that cross modules and processes: frozen, validated, in SI units."""
