"""On-chip memories of the accelerator."""
