"""What every part of sievit agrees on: formats, configurations, instructions, registers, files."""
