"""Which key is warned, disabled, parked or purged, and why."""
