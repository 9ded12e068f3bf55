"""The morning's report."""
