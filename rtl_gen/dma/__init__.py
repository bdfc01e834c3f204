"""Movement between DRAM and the on-chip memories: AXI4 channels, program fetch, load and store."""
