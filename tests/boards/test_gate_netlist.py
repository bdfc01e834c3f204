"""Synthesised netlists in the benches of the units, and one changed gate that they must find."""

import pytest

from boards import yowasp
from boards.errors import SynthesisError
from boards.gate_netlist import netlist_of

ADDER = """
module adder(input clk, input [3:0] a, input [3:0] b, output reg [4:0] s);
  reg [4:0] seen [0:15];
  always @(posedge clk) begin s <= a + b; seen[a] <= s; end
endmodule
"""


@pytest.fixture(autouse=True)
def _yosys():
    try:
        yowasp.find(yowasp.YOSYS)
    except SynthesisError as error:
        pytest.skip(str(error))


@pytest.fixture
def folder():
    """Yosys sees no absolute paths under the temporary folder, but runs in any."""
    return yowasp.prepare((), "tests-netlist", lambda text: None)


def sources(folder, family, edit=lambda text: text):
    """What `run_bench` builds instead of the emitted Verilog."""

    def change(text, top):
        netlist = netlist_of(text, top, folder, family)
        assert "*" not in edit(netlist.verilog).replace("(*", "").replace("*)", "")
        assert netlist.gates > 20
        files = {f"{top}.v": edit(netlist.verilog)}
        return files | ({"cells.v": netlist.models} if netlist.models else {})

    return change
