"""Arithmetic that several units share."""
