"""The bridge to lm-evaluation-harness: its tasks as ours, our artifacts as its models."""
