"""What each function does: gather, decide, check, apply."""
