"""Let a session answer: likelihoods, generated answers, distributions over a text."""
