"""In the place of the adapters whose services are not imitated; the real ones run through the same suites."""
