"""One sweep."""
