"""Counting gates and cells: accounting on small reports, and one real run of Yosys."""

import io
import json
import re
from pathlib import Path

import pytest
from jsonschema import validate
from rich.console import Console

from boards import cells, ecp5, framed, gates, netlist, xilinx, yowasp
from boards.area_doc import BLOCKS, refresh
from boards.errors import SynthesisError
from boards.report import against, excess
from boards.resources import used
from boards.stat import cells_by_module
from boards.units import GLUE, UNITS, kept, unit_of
from cli.area_tables import comparison_table, gate_table, memory_table, resource_table, unit_table
from rtl_gen.emit import TOP
from rtl_gen.pe_array.pe_array import PEArray
from rtl_gen.top import Top
from spec.presets import PRESETS, preset
from spec.reports import ESTIMATE, GATES

HERE = Path(__file__).parent
STAT = json.loads((HERE / "stat.json").read_text())
"""`stat -json` of three modules, cut down from a run on preset `tiny`."""

DUMP = """
attribute \\keep_hierarchy 1
module \\sievit_top.core.row_memory

  attribute \\no_rw_check 1
  cell $mem_v2 \\bank0
    parameter \\MEMID "\\\\bank0"
    parameter \\WIDTH 64
    parameter \\OFFSET 0
    parameter \\SIZE 512
    parameter \\WR_PORTS 1
    connect \\RD_CLK \\clk
  end
  cell $mem_v2 \\bank1
    parameter \\WIDTH 64
    parameter \\SIZE 512
  end
end

module \\sievit_top.core.load_queue

  cell $mem_v2 \\words.storage
    parameter \\WIDTH 272
    parameter \\SIZE 7
  end
end

module \\sievit_top.core.column_tables

  cell $mem_v2 \\memory
    parameter \\WIDTH 216
    parameter \\SIZE 16
  end
end
"""


def test_units_by_path() -> None:
    assert unit_of("sievit_top.core.softmax.exponential") == "softmax"
    assert unit_of("sievit_top.counters$210") == "host"
    assert unit_of("sievit_top.core.group_1.epilogue_3.lane_0.gelu") == "epilogue"
    assert unit_of("sievit_top.core") == unit_of("sievit_top") == GLUE
    paths = ["sievit_top", "sievit_top.core", "sievit_top.core.softmax", "sievit_top.run"]
    assert kept([*paths, "sievit_top.core.softmax.run"]) == paths[2:]


def test_every_module_of_the_machine_is_in_a_unit(tmp_path: Path) -> None:
    modules = netlist.emit(Top(preset("tiny")), TOP, tmp_path)
    glue = [path for path in modules if unit_of(path) == GLUE]
    assert TOP in glue
    inside = [path for path in modules if path not in glue]
    assert [path for path in glue if not any(f.startswith(f"{path}.") for f in inside)] == []
    assert {unit_of(path) for path in modules} == {*UNITS, GLUE}
    names = {re.sub(r"(_\d+)?(\$\d+)?$", "", path.split(".")[-1]) for path in modules}
    assert [name for parts in UNITS.values() for name in parts if name not in names] == []


def test_areas_are_sums_in_thirds() -> None:
    assert cells.area_thirds({"NAND2": 5, "INV": 1, "$_DFF_P_": 2, "$_DFFE_PP_": 1}) == 15 + 2 + 58
    with pytest.raises(SynthesisError) as caught:
        cells.area_thirds({"NAND2": 1, "$mul": 2, "$_DLATCH_P_": 1})
    assert str(caught.value) == "cells without a known area: $_DLATCH_P_, $mul"


def test_the_library_has_every_gate_once() -> None:
    lines = cells.genlib().splitlines()
    assert [line.split()[1] for line in lines] == [*cells.GATES]
    assert "GATE AOI21 4 Y=!((A*B)+C); PIN * UNKNOWN 1 999 1.0 0.0 1.0 0.0" in lines


def test_instances_of_modules_are_no_cells() -> None:
    found = cells_by_module(STAT, ignored=("$mem_v2",))
    assert found["sievit_top"] == {"$_DFFE_PP_": 4, "INV": 6}
    assert found["sievit_top.core.row_memory"] == {"NAND2": 12, "NOR2": 3}


def test_units_add_up_to_the_total() -> None:
    found = cells_by_module(STAT, ignored=("$mem_v2",))
    units = gates.account(found)
    assert units["row_memory"]["nand2"] == 15.0
    assert units["host"] == {
        "nand2": 68.67,
        "combinational_nand2": 4.0,
        "sequential_nand2": 64.67,
        "flip_flops": 11,
        "enabled_flip_flops": 1,
    }
    assert units[GLUE]["nand2"] == 36.0
    total = sum(cells.area_thirds(counted) for counted in found.values()) / 3
    # Each of the units is rounded to hundredths.
    assert sum(unit["nand2"] for unit in units.values()) == pytest.approx(total, abs=0.06)
    assert set(units) == {*UNITS, GLUE}


def test_memories_of_a_dump() -> None:
    found = gates.memories(DUMP)
    assert [(m["name"], m["unit"], m["bits"], m["sram"]) for m in found] == [
        ("column_tables.memory", "table_memories", 3456, True),
        ("load_queue.words.storage", "sequencer", 1904, False),
        ("row_memory.bank0", "row_memory", 32768, True),
        ("row_memory.bank1", "row_memory", 32768, True),
    ]


def test_cells_become_resources() -> None:
    modules = {"a": {"LUT6": 10, "RAM32M16": 2, "RAMB18E2": 3, "MUXF7": 9}, "b": {"DSP48E2": 4}}
    found = used(modules, xilinx.TAKES, xilinx.FREE)
    assert found == {"LUT": 26, "FF": 0, "DSP48E2": 4, "RAMB36": 1.5, "URAM": 0, "CARRY8": 0}
    with pytest.raises(SynthesisError) as caught:
        used({"a": {"LUT6": 1, "LUT7": 1}}, xilinx.TAKES, xilinx.FREE)
    assert str(caught.value) == "cells of unknown size: LUT7"


def test_what_is_missing() -> None:
    resources = against({"LUT": 120.0, "FF": 7, "URAM": 3}, {"LUT": 100, "FF": 7})
    assert resources["URAM"] == {"used": 3}
    assert excess(resources) == {"LUT": 20.0}


@pytest.mark.parametrize("name", PRESETS)
def test_reports_keep_their_contract(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With Yosys replaced by files it would have written."""
    counts = {
        gates.COUNTS: STAT,
        framed.COUNTS: {"modules": {"top": {"num_cells_by_type": {"LUT4": 90_000, "CCU2C": 10}}}},
        xilinx.COUNTS: {"modules": {"top": {"num_cells_by_type": {"LUT4": 90_000, "FDRE": 10}}}},
    }

    def run(program: str, arguments: list[str], folder: Path) -> str:
        for file, content in counts.items():
            (folder / file).write_text(json.dumps(content))
        (folder / gates.MEMORIES).write_text(DUMP)
        return ""

    monkeypatch.setattr(yowasp, "run", run)
    monkeypatch.setattr(yowasp, "find", lambda program: program)
    monkeypatch.setattr(netlist, "emit", lambda design, top, folder: [top])
    monkeypatch.setattr(framed, "_text", lambda config: "")
    monkeypatch.setattr(yowasp, "FOLDER", tmp_path)
    for module in (gates, xilinx):
        monkeypatch.setattr(module, "Top", lambda config: None)
    config = preset(name)
    report = gates.synthesize(config)
    validate(report, GATES)
    # 359 thirds, rounded to hundredths
    assert report["nand2"] == pytest.approx(119.67, abs=0.01)
    assert report["nand2_per_mac"] == pytest.approx(119.67 / config.macs, abs=0.01)
    assert report["sram_bits"] == 2 * 32768 + 3456
    small = ecp5.estimate(config)
    validate(small, ESTIMATE)
    assert not small["fits"]
    assert small["resources"]["LUT4"] == {"used": 90_020, "available": 83_640}
    large = xilinx.synthesize(config)
    validate(large, ESTIMATE)
    assert large["fits"]


def _printed(table: object) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def _cells(table: object) -> list[list[str]]:
    """The body of a printed table."""
    rows = [line.split("│")[1:-1] for line in _printed(table).splitlines() if "│" in line]
    return [[cell.strip() for cell in row] for row in rows]


def test_tables() -> None:
    units = gates.account(cells_by_module(STAT, ignored=("$mem_v2",)))
    memories = gates.memories(DUMP)
    report = {"preset": "p", "macs": 10, "units": units, "memories": memories, "sram_bits": 16384}
    rows = _cells(gate_table(report))
    assert ["host", "69", "6.9", "57.4%", "65", "11"] in rows
    assert rows[-1] == ["all", "120", "12.0", "100.0%", "97", "15"]
    text = _printed(memory_table(report))
    assert "row_memory.bank1" in text
    assert "load_queue" not in text
    assert "2.0 KiB" in text
    resources = against({"LUT": 120, "FF": 7, "CARRY8": 3}, {"LUT": 100, "FF": 70})
    chip = {"preset": "p", "target": "xcup", "device": "d", "resources": resources}
    assert _cells(resource_table(chip)) == [
        ["LUT", "120", "100", "120%", "20"],
        ["FF", "7", "70", "10%", ""],
        ["CARRY8", "3", "", "", ""],
    ]
    chip["units"] = {"mac_array": {"LUT": 1, "FF": 2, "CARRY8": 1234.5}}
    assert _cells(unit_table(chip)) == [["mac array", "1", "2", "1,234.5"]]


def test_tables_of_the_document() -> None:
    units = {"mac_array": {"nand2": 4000.0}, "glue": {"nand2": 96.4}}
    gate_report = {
        "preset": "asic512", "target": "gates", "macs": 512, "units": units, "nand2": 4096.4,
        "nand2_per_mac": 8.0, "flip_flops": 10, "enabled_flip_flops": 3, "sram_bits": 8192,
    }  # fmt: skip
    names = ("LUT", "FF", "DSP48E2", "RAMB36")
    used = {name: {"used": 1500, "available": 1000} for name in names}
    chip_report = {"preset": "asic512", "target": "xcup", "macs": 512, "resources": used}
    blocks = "".join(f"<!-- area:{name} -->\nold\n<!-- /area -->\n" for name in BLOCKS)
    text = refresh(blocks, [gate_report, chip_report])
    assert "old" not in text
    assert "| mac array | 4,000 |" in text
    assert "| of it the MAC array | 512 | 4.0 K | 8 | | |" in text
    assert "| 1,500 (500 too many) |" in text
    assert "| sievit `asic512`, 512 MACs | 1.5 | 1.5 | 1,500 | 1,500 |" in text
    assert refresh(text, [gate_report, chip_report]) == text


def test_the_document_has_every_table() -> None:
    text = (HERE.parents[1] / "docs" / "area.md").read_text()
    assert [name for name in BLOCKS if f"<!-- area:{name} -->" not in text] == []
    assert text.count("<!-- area:") == text.count("<!-- /area -->") == len(BLOCKS)


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict]:
    """A small array, and the same with twice the banks, by Yosys."""
    try:
        yowasp.find(yowasp.YOSYS)
    except SynthesisError as error:
        pytest.skip(str(error))
    result = {}
    for banks in (1, 2):
        folder = tmp_path_factory.mktemp(f"gates{banks}", numbered=False)
        result[banks] = gates.count(PEArray(banks=banks, lanes=8), "pe_array", folder)
    return result


def test_yosys_counts_an_array(synthesised: dict[int, dict]) -> None:
    single, double = (synthesised[banks] for banks in (1, 2))
    for found in (single, double):
        total = cells.area_thirds(found["cells"]) / 3
        # Units are rounded to hundredths.
        assert sum(unit["nand2"] for unit in found["units"].values()) == pytest.approx(total, abs=1)
        assert found["units"]["mac_array"]["nand2"] == pytest.approx(total, abs=0.01)
        assert found["memories"] == []
    # 8 more products of 17 bits, a bit more in 8 partial sums, and a second score: sum and result
    grown = double["units"]["mac_array"]["flip_flops"] - single["units"]["mac_array"]["flip_flops"]
    assert grown >= 8 * 17 + 8 + 2 * 32
    assert double["units"]["mac_array"]["nand2"] > 1.4 * single["units"]["mac_array"]["nand2"]


def test_a_machine_beside_another() -> None:
    """What is more, in total and by unit; units that only one of them has."""
    before = {
        "preset": "small",
        "target": "xcup",
        "resources": {"LUT": {"used": 1000}, "DSP48E2": {"used": 8}, "URAM": {"used": 0}},
        "units": {"softmax": {"LUT": 400, "DSP48E2": 4}},
    }
    after = {
        **before,
        "preset": "large",
        "resources": {"LUT": {"used": 1080}, "DSP48E2": {"used": 8}, "URAM": {"used": 0}},
        "units": {"softmax": {"LUT": 410}, "token_selector": {"LUT": 70}},
    }
    text = _printed(comparison_table(before, after))
    lines = {
        line.split("│")[1].strip(): line.split("│")[2:-1]
        for line in text.splitlines()
        if "│" in line
    }
    rows = {name: [cell.strip() for cell in cells] for name, cells in lines.items()}
    assert "large beside small, xcup" in text
    assert rows["LUT"] == ["1,000", "1,080", "+80", "+8.00%"]
    assert rows["DSP48E2"] == ["8", "8", "+0", "+0.00%"]
    assert rows["URAM"] == ["0", "0", "+0", ""]
    assert rows["token selector, LUT"] == ["0", "70", "+70", ""]
    gates_before = {"preset": "a", "target": "gates", "nand2": 100.4, "flip_flops": 10}
    gates_before |= {"sram_bits": 64, "units": {}}
    gates_after = {**gates_before, "preset": "b", "nand2": 110.2, "units": {"dma": {"nand2": 7}}}
    text = _printed(comparison_table(gates_before, gates_after))
    assert "+10.00%" in text
    assert "dma, nand2" in text
