"""One function for each numeric unit of the hardware, bit-exact, integers only."""
