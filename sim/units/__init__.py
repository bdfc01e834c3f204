"""One cocotb bench for each RTL unit; `sim.bench` says what a bench module declares."""
