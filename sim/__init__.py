"""cocotb on the emitted Verilog, under Verilator and Icarus: one bench a unit, one for the top."""
