"""A program's way to a machine: the serial link, the driver, and devices that answer alike."""
