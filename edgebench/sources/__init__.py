"""What a person named, and what a file holds. Nothing that is read here is believed."""
