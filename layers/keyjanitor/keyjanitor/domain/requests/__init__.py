"""Requests for keys: who may ask, limits, answers."""
