"""The whole board through its serial line, driven by the host's own code."""

import numpy as np
import pytest

from cli.options import load_model
from compiler import compile as compile_model
from compiler import compile_steps
from golden_model.machine import machine as golden_machine
from perf_model.dram import Dram
from perf_model.machine import predict
from sim.bench import SIMULATORS
from sim.board import BoardSimulation
from sim.errors import SimulationError
from spec.dram import DRAM_PRESETS
from spec.pixels import batch_of, patches_of
from spec.presets import preset
from tests.random_models import random_images, random_model

CONFIG = preset("tiny")
LONG = ["verilator", pytest.param("icarus", marks=pytest.mark.regress)]
"""Minutes under Icarus: in the long regression."""


class Suite:
    """Boards with `micro` in their memory, pictures, and the golden machine's answers."""

    def __init__(self):
        model = load_model("micro")
        compiled = compile_steps(model, CONFIG)
        self.image = compiled.image
        self.cycles = predict(
            compiled.schedule.instructions, CONFIG, Dram(DRAM_PRESETS["blockram"])
        ).cycles
        pictures = batch_of(random_images(model.config, 3), model.config)
        self.inputs = list(patches_of(pictures, model.config))
        self.logits = self.answers(self.image)
        self.other = compile_model(random_model(model.config, outliers=False, images=2), CONFIG)
        self.other_logits = self.answers(self.other)
        assert not np.array_equal(self.logits[0], self.logits[1])
        assert not np.array_equal(self.logits[0], self.other_logits[0])

    def answers(self, image):
        return [golden_machine(image, CONFIG, one).logits for one in self.inputs]

    def run(self, simulator, test, **more):
        board = BoardSimulation.build(CONFIG, self.image, simulator)
        board.run(
            test,
            inputs=self.inputs,
            logits=self.logits,
            other=self.other,
            other_logits=self.other_logits,
            **more,
        )


@pytest.fixture(scope="module")
def suite():
    return Suite()


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_pictures_in_any_order(suite, simulator):
    order = [0, 1, 0] if simulator == "icarus" else [2, 0, 1, 1, 2]
    suite.run(simulator, "images", order=order, cycles=suite.cycles)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_broken_frames(suite, simulator):
    suite.run(simulator, "broken")


@pytest.mark.parametrize("simulator", LONG)
@pytest.mark.parametrize("test", ["line_break", "resets", "lamps", "corrupt", "silent"])
def test_nothing_hangs_and_the_next_picture_is_right(suite, simulator, test):
    suite.run(simulator, test)


@pytest.mark.parametrize("simulator", LONG)
def test_a_bad_line(suite, simulator):
    suite.run(simulator, "noise", order=[0] if simulator == "icarus" else [0, 1, 2])


@pytest.mark.parametrize("simulator", LONG)
def test_a_flipped_bit_is_asked_again(suite, simulator):
    suite.run(simulator, "flipped")


@pytest.mark.parametrize("simulator", LONG)
@pytest.mark.parametrize("test", ["models", "selftest"])
def test_models_over_the_line(suite, simulator, test):
    suite.run(simulator, test)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_the_comparison_fails_when_a_bit_of_the_answer_is_flipped(suite, simulator):
    with pytest.raises(SimulationError, match="image 0: got logits"):
        suite.run(simulator, "liar")


def test_wrong_cycles_are_found(suite):
    with pytest.raises(SimulationError, match=rf"predicted were {suite.cycles + 1}"):
        suite.run("verilator", "images", order=[0], cycles=suite.cycles + 1)
