"""An AWS in a box: MiniStack, completed by what it lacks for API keys.

`python -m sandbox` runs it; `sandbox.client.Sandbox` starts it, attaches to it and sets what AWS
would not let you set; `sandbox.population` makes up accounts full of keys.
"""
