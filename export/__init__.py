"""What integrators need beside the Verilog: a bundle of files, each generated from the specification."""
