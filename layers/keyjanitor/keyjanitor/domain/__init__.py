"""Rules, values and texts. Pure: no clock, network or environment."""
