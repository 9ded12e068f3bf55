"""AWS as the sandbox answers it: MiniStack behind one port, with what it lacks and what it gets wrong."""
