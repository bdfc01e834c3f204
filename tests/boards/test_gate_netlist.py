"""Synthesised netlists in the benches of the units, and one changed gate that they must find."""

import pytest

from boards import yowasp
from boards.errors import SynthesisError
from boards.gate_netlist import FAMILIES, GATES, change_gate, netlist_of
from sim.bench import run_bench
from sim.errors import SimulationError

REQUANTIZE = ("sim.units.tb_requantize", {"low": -128, "high": 127, "logic": True})
SMALL = ("sim.units.tb_residual_add", {})

COUNTED = """
module counted(input clk, input [3:0] a, input [3:0] b, output reg [4:0] s, output [4:0] old);
  reg [4:0] seen [0:15];
  assign old = seen[b];
  always @(posedge clk) begin s <= a + b; seen[a] <= s; end
endmodule
"""


@pytest.fixture
def folder():
    """Where Yosys works; it sees no absolute paths under the temporary folder."""
    try:
        return yowasp.prepare((yowasp.YOSYS,), "tests-netlist", lambda text: None)
    except SynthesisError as error:
        pytest.skip(str(error))


def synthesised(folder, family, edit=lambda text: text):
    """For `run_bench`: the netlist instead of what was emitted."""

    def change(text, top):
        netlist = netlist_of(text, top, folder, family)
        assert netlist.gates > 20
        assert not netlist.memories
        files = {f"{top}.v": edit(netlist.verilog)}
        return files | ({"cells.v": netlist.models} if netlist.models else {})

    return change


@pytest.mark.parametrize(
    ("unit", "family"), [(REQUANTIZE, GATES), (SMALL, "ice40"), (SMALL, "ecp5")]
)
def test_units_as_netlists(folder, unit, family):
    bench, parameters = unit
    run_bench(bench, "icarus", parameters, change=synthesised(folder, family))


@pytest.mark.parametrize("number", [10, 500])
def test_a_changed_gate_is_found(folder, number):
    bench, parameters = REQUANTIZE
    edit = synthesised(folder, GATES, lambda text: change_gate(text, number))
    with pytest.raises(SimulationError, match="tb_requantize"):
        run_bench(bench, "icarus", parameters, change=edit)


def test_cells_are_counted(folder):
    netlist = netlist_of(COUNTED, "counted", folder)
    assert (netlist.flip_flops, netlist.memories) == (5, 1)
    assert 10 < netlist.gates < 40
    assert set(netlist.cells) <= {"$_AND_", "$_OR_", "$_XOR_", "$_NOT_", "$_MUX_", "$_DFF_P_"} | {
        "$mem_v2"
    }
    assert " + " not in netlist.verilog
    lut = netlist_of(COUNTED, "counted", folder, "ice40")
    assert lut.cells["SB_DFF"] == 5
    assert lut.flip_flops == 5 + lut.cells["SB_DFFE"], "the memory is of flip-flops here"
    assert "module SB_LUT4" in lut.models


def test_errors_in_words(folder):
    netlist = netlist_of(COUNTED, "counted", folder)
    with pytest.raises(SynthesisError, match=r"has AND gates 0\.\.\d+, not 1000"):
        change_gate(netlist.verilog, 1000)
    with pytest.raises(SynthesisError, match=f"one of {', '.join(FAMILIES)}, not 'asic'"):
        netlist_of(COUNTED, "counted", folder, "asic")
    with pytest.raises(SynthesisError, match="ERROR"):
        netlist_of("module", "counted", folder)
