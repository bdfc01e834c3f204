"""ViTCoD's auto-encoder at run time: both programs on the Verilog against the golden machine."""

from dataclasses import replace

import numpy as np
import pytest

from compiler.errors import CompileError
from compiler.spilled_codes import Mix, spilled_program
from sim import spilled_codes
from sim.errors import SimulationError
from spec.presets import preset

TINY = preset("tiny")
SIZES = {"tokens": 5, "heads": 3, "head_dim": 8, "hidden": 2}


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_encoded_rows_are_fewer_bytes(simulator):
    found = spilled_codes.study(TINY, **SIZES, simulator=simulator)
    bytes_of = {name: counters["dram_scratch_bytes"] for name, counters in found.items()}
    assert bytes_of == {"plain": 2 * 5 * 24, "encoded": 2 * 5 * 16}
    assert found["encoded"]["macs_done"] - found["plain"]["macs_done"] == 5 * 24 * 16 * 2


def test_a_write_that_differs_is_found(monkeypatch):
    def other_weights(*arguments):
        image = spilled_program(*arguments)
        weights = image.weights.copy()
        weights[-64:] ^= 0x40
        images.append(replace(image, weights=weights))
        return image

    images = []
    run_program = spilled_codes.run_program

    def run(config, program, windows):
        image = images.pop(0)
        return run_program(
            config, program, {**windows, spilled_codes.Window.WEIGHTS: image.weights.tobytes()}
        )

    monkeypatch.setattr(spilled_codes, "spilled_program", other_weights)
    monkeypatch.setattr(spilled_codes, "run_program", run)
    with pytest.raises(SimulationError, match="other data than the golden machine"):
        spilled_codes.study(TINY, **SIZES, simulator="verilator")


def test_heads_are_mixed_channel_by_channel():
    mix = Mix.of_heads(np.array([[2], [3]], np.int8), head_dim=2, multiplier=1, shift=0)
    assert mix.weight.tolist() == [[2, 0], [0, 2], [3, 0], [0, 3]]


def test_what_does_not_fit():
    wide = Mix(weight=np.zeros((8, 80), np.int8), multiplier=1, shift=0)
    with pytest.raises(CompileError, match=r"weights: needs 10 tables, preset 'tiny' has 8"):
        spilled_program(TINY, 5, wide)
    with pytest.raises(CompileError, match=r"bytes of token memory, preset 'tiny' has 32,768"):
        spilled_program(TINY, 5000, Mix(weight=np.zeros((8, 8), np.int8), multiplier=1, shift=0))
