"""Chips of other families: cells to resources; `sievit synth --target ice40` is a real run."""

import json

import pytest
from jsonschema import validate

from boards import framed, yowasp
from boards.errors import SynthesisError
from boards.families import FAMILIES
from spec.presets import preset
from spec.reports import ESTIMATE

CELLS = {
    "ice40": {"SB_LUT4": 6000, "SB_CARRY": 9, "SB_DFFESR": 2, "SB_DFF": 1, "SB_RAM40_4K": 3},
    "gowin": {"LUT4": 5000, "ALU": 7, "RAM16SDP4": 2, "DFFRE": 3, "MULT9X9": 5, "SDPB": 4},
}
RESOURCES = {
    "ice40": {"LUT4": 6000, "FF": 3, "DSP": 0, "EBR": 3, "SPRAM": 0},
    "gowin": {"LUT4": 5015, "FF": 3, "MULT18X18": 2.5, "BSRAM": 4},
}


def counted(monkeypatch, folder, target, cells):
    """The report, with Yosys replaced by the counts it would have written."""

    def run(program, arguments, where):
        top = {"num_cells_by_type": {**cells, "$scopeinfo": 9}}
        (where / framed.COUNTS).write_text(json.dumps({"modules": {"top": top}}))
        return ""

    monkeypatch.setattr(yowasp, "run", run)
    monkeypatch.setattr(yowasp, "find", lambda program: program)
    monkeypatch.setattr(yowasp, "FOLDER", folder)
    monkeypatch.setattr(framed, "_text", lambda config: "")
    return framed.count(preset("small"), target, FAMILIES[target])


@pytest.mark.parametrize("target", FAMILIES)
def test_cells_become_resources(monkeypatch, tmp_path, target):
    report = counted(monkeypatch, tmp_path, target, CELLS[target])
    validate(report, ESTIMATE)
    assert {name: one["used"] for name, one in report["resources"].items()} == RESOURCES[target]
    assert report["fits"] == (target == "gowin")


@pytest.mark.parametrize("target", FAMILIES)
def test_a_cell_of_unknown_size_is_refused(monkeypatch, tmp_path, target):
    with pytest.raises(SynthesisError, match="unknown size: PLL"):
        counted(monkeypatch, tmp_path, target, {"PLL": 1})
