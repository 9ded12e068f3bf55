"""How many keys there are, when the account is full, and which alerts that leads to."""
