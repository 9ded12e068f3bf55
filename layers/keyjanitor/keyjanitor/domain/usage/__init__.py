"""What the reading of a night proves."""
