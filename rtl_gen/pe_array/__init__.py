"""The MAC array."""
