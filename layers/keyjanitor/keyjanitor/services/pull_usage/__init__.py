"""Reads the use of every key, and writes down what the reading of a night proves."""
