"""The token selector: which token rows stay, and the one that is made of the others."""
