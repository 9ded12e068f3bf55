"""AWS in memory, as far as the functions use it: tests and the simulated year live on it.

`clients/` takes the place of boto3's clients, `adapters/` that of adapters whose services are not
imitated, `simulation/` that of the others too, for lives of many nights.
"""
