"""What integrators need beside the Verilog: a bundle of files, generated from the specification."""
