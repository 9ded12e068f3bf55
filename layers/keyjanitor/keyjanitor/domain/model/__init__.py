"""The values that everything else is about: keys, usage plans, records, the policy."""
