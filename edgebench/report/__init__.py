"""Show rows and picks to a person. The only place where units are scaled."""
