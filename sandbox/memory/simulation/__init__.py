"""In the place of the adapters, for lives of a hundred nights and thousands of keys: values as they are."""
