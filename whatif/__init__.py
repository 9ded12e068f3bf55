"""What keyjanitor would do: to an account that was read into files, or in the days of a record.

It reads files, and talks to nobody.
"""
