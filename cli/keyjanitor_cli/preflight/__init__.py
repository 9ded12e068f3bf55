"""Asks an account what keyjanitor believes about AWS and about the account, and judges the answers."""
