"""The nouns that every feature speaks of."""
