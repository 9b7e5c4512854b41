"""The process on the device: it opens one artifact, measures it and lets it answer."""
