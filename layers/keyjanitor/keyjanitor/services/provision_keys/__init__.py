"""One batch of requests."""
