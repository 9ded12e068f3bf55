"""How many keys there are, when the account is full, and whom to tell."""
