"""From the machine to FPGA boards: synthesis, placement and their reports."""
