"""Writes a first `policy.toml` from how the keys of an account were used."""
