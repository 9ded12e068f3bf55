"""A simulated year of an account that grows, and the auditor who watches it."""
