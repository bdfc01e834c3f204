"""Emission: the same bytes each time, and nothing a linter would object to."""

import pytest

from rtl_gen.emit import TOP, verilog
from sim.lint import WAIVERS, lint
from spec.presets import PRESETS
from tests.grouped import GROUPED

MACHINES = {**PRESETS, GROUPED.name: GROUPED}
LARGE = {"zcu102"}
"""Three head groups take a minute to emit; `grouped` has as many."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.regress if name in LARGE else ()) for name in MACHINES],
)
def test_emitted_verilog_is_reproducible_and_lints(name):
    text = verilog(MACHINES[name])
    assert f"module {TOP}(" in text
    assert verilog(MACHINES[name]) == text
    assert lint(text) == []


def test_lint_finds_what_is_wrong():
    text = (
        f"module {TOP}(input clk, output reg q);\n"
        "  wire unused_but_waived;\n"
        "  always @(posedge clk) q <= missing;\nendmodule\n"
    )
    assert any("missing" in line for line in lint(text))


def test_waivers_name_rule_and_file():
    lines = WAIVERS.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("lint_off"):
            assert "-rule " in line
            assert '-file "*sievit_top.v"' in line, "in any folder"
            assert line.count("*") == 1
            assert lines[number - 1].startswith("//"), "each waiver gives its reason"
