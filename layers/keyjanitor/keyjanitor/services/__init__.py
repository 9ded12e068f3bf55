"""The work of each function: gather, decide, check, apply."""
