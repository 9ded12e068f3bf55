"""Who may have which key, and what is answered."""
