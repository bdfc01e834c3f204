"""The harness and `Simulation`, with a stand-in machine that copies its input window."""

import numpy as np
import pytest

from sim.bench import SIMULATORS
from sim.machine import Options, Simulation
from sim.selftest import copy_machine
from spec.image import Image, InputGeometry, ResultGeometry
from spec.presets import preset
from spec.registers import Error, Status

BYTES = 512


@pytest.fixture(params=SIMULATORS)
def simulation(request):
    return Simulation.build(preset("tiny"), request.param, copy_machine.verilog)


def image_and_inputs(count):
    config, generator = preset("tiny"), np.random.default_rng(3)
    image = Image(
        program=np.zeros((3, 32), np.uint8),
        weights=np.zeros(100, np.uint8),
        config_name="tiny",
        config_digest=config.digest(),
        model_digest="",
        model={},
        input=InputGeometry(rows=BYTES // 16, columns=16, row_bytes=16),
        result=ResultGeometry(classes=10, words=BYTES // 8, word_bytes=8),
        scratch_bytes=0,
        tensors={},
        names=("", "", ""),
    )
    shape = (count, BYTES // 16, 16)
    return image, list(generator.integers(-128, 128, shape, dtype=np.int8))


def expected_result(one):
    return (one.reshape(-1).view(np.uint8) + np.uint8(1)).tobytes()


def test_images_pass_through(simulation):
    image, inputs = image_and_inputs(4)
    options = [
        Options(),
        Options(latency=64),
        Options(bandwidth=3),
        Options(stall=160, latency=5),
    ]
    outcomes = simulation.run(image, inputs, options)
    cycles = [outcome.cycles for outcome in outcomes]
    for one, outcome in zip(inputs, outcomes, strict=True):
        assert (outcome.ended, outcome.status, outcome.error) == (
            "interrupt",
            Status.DONE,
            Error.NONE,
        )
        assert outcome.result == expected_result(one)
        assert outcome.violations == 0
        assert outcome.outstanding == 0
        assert outcome.status_after_clear == Status(0)
        assert list(outcome.writes) == [5]
        writes = outcome.writes[5]
        assert writes.token_data.tobytes() == expected_result(one)
        assert writes.token_mask.all()
        assert list(writes.token_address[:9]) == [*range(8), 64]
        assert (len(writes.row_data), len(writes.scores), len(writes.probs)) == (0, 0, 0)
    bursts = BYTES // 64
    assert cycles[0] < cycles[2]
    assert cycles[1] == cycles[0] + 2 * 63 * bursts
    assert cycles[2] >= 2 * 8 * bursts * 10 // 3
    assert cycles[3] > cycles[0]


@pytest.mark.parametrize(("fault", "ended"), [("slverr", "interrupt"), ("silent", "limit")])
@pytest.mark.parametrize(
    ("window", "error"), [("INPUT", Error.BUS_READ), ("RESULT", Error.BUS_WRITE)]
)
def test_faults_are_injected_and_end(simulation, fault, ended, window, error):
    image, inputs = image_and_inputs(2)
    options = Options(
        fault=fault, fault_window=window, fault_first=200, fault_last=200, max_cycles=2000
    )
    bad, *good = simulation.run(image, inputs, [options, Options()])
    assert bad.ended == ended
    assert bad.logits is None
    if ended == "limit":
        assert bad.status == Status.BUSY
        return  # the stand-in cannot be stopped
    assert (bad.status, bad.error, bad.status_after_clear) == (Status.ERROR, error, Status(0))
    assert good[0].result == expected_result(inputs[1])
