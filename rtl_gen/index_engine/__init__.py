"""Which rows the array reads: one address stream a bank."""
