"""What is wrong with an account, and how to fix it."""
