"""Usage readings, and what they prove of keys."""
