"""What the host sees: AXI4-Lite registers and counters."""
