"""AWS in memory, as far as the functions use it."""
