"""How tests and the demo hold the sandbox: its process, a stack in it, and accounts full of keys."""
