"""An AWS in a box: MiniStack, completed by what it lacks for API keys.

`python -m sandbox` runs it, and `aws/` is what it runs. `driver/` holds it: `driver.client.Sandbox` starts
it, attaches to it and sets what AWS would not let you set; `driver.population` makes up accounts full of
keys. `memory/` is another AWS, in the process that asks, and `year/` a year that is lived on it.
"""
