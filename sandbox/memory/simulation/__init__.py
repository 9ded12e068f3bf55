"""In the place of the adapters, for lives of a hundred nights and thousands of keys: values as they are.

API Gateway, its owners and the dead letters are those of `sandbox.memory.adapters`, and the alert store is
the adapter itself. A twin that documents would slow down keeps values, and says how much that saves; it
runs through the suite of its adapter.
"""
