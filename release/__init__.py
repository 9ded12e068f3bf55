"""What a release is made of: the files that are published with a tag, and the checks before it.

Each module is a command (`python -m release.NAME`), run by a target of the Makefile and by
`.github/workflows/release.yml`. Nothing here runs in an account.
"""
