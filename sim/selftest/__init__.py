"""Benches that test the benches: a trivial component, and one whose tests must fail."""
