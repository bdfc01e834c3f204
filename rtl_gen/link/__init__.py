"""The link between a host and a board, and the board's memory."""
