"""A frame of a few pins around the machine, so that a chip's pins do not limit an estimate."""

import re
from collections.abc import Mapping

__all__ = ["HARNESS", "harness", "ports"]

HARNESS = "sievit_pins"
"""Name of the frame's module."""

_PORT = re.compile(r"^\s*(input|output)(?: (?:wire|reg))? (?:\[(\d+):0\] )?(\w+)", re.MULTILINE)


def ports(verilog: str, top: str) -> tuple[dict[str, int], dict[str, int]]:
    """Inputs and outputs (widths in bits by name) of a module of an emitted Verilog text.

    Without `clk` and `rst`, in the text's order.
    """
    start = re.search(rf"^module {top}\b", verilog, re.MULTILINE)
    if start is None:
        raise ValueError(f"no module {top} in this text")
    body = verilog[start.start() : verilog.index("endmodule", start.start())]
    found: dict[str, dict[str, int]] = {"input": {}, "output": {}}
    for direction, high, name in _PORT.findall(body):
        if name not in ("clk", "rst"):
            found[direction][name] = int(high or 0) + 1
    return found["input"], found["output"]


def harness(
    top: str, inputs: Mapping[str, int], outputs: Mapping[str, int], *, name: str = HARNESS
) -> str:
    """Verilog of a module that holds `top` between shift registers, with six pins.

    Every input bit of the machine comes from a register that a serial input fills, every output
    bit goes to a register that a serial output empties: nothing can be optimised away, and the
    paths to and from the machine's ports are a register's, as behind a bus interconnect. The
    frame costs a flip-flop an input bit and a flip-flop and a LUT an output bit.

    top : module with ports `clk`, `rst` and those of `inputs` and `outputs`
    inputs, outputs : widths in bits by port name; ports not named stay open
    """
    taken, given = sum(inputs.values()), sum(outputs.values())
    lines = [
        f"module {name}(input clk, input rst, input serial_in, input load, output serial_out);",
        f"  reg [{taken - 1}:0] inputs;",
        f"  reg [{given - 1}:0] outputs;",
        f"  wire [{given - 1}:0] made;",
        "  assign serial_out = outputs[0];",
        "  always @(posedge clk) begin",
        f"    inputs <= {{serial_in, inputs[{taken - 1}:1]}};",
        f"    outputs <= load ? made : {{1'b0, outputs[{given - 1}:1]}};",
        "  end",
        f"  {top} machine(.clk(clk), .rst(rst)",
    ]
    for ports, bus in ((inputs, "inputs"), (outputs, "made")):
        low = 0
        for port, width in ports.items():
            lines.append(f"    , .{port}({bus}[{low + width - 1}:{low}])")
            low += width
    lines += ["  );", "endmodule", ""]
    return "\n".join(lines)
