"""Problems of an account, and how to fix them."""
