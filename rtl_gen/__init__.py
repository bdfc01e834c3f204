"""The accelerator in Amaranth: `top` puts the units together, `emit` writes Verilog."""
