"""The difficulty gate: ends a program when its class logits are certain."""
