"""The simulation infrastructure itself: benches pass, fail and stop when they should."""

import os

import pytest

from sim.bench import SIMULATORS, prune, run_bench
from sim.errors import SimulationError
from sim.selftest import tb_adder


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("parameters", tb_adder.PARAMETERS, ids=str)
def test_a_right_bench_passes(simulator, parameters):
    run_bench("sim.selftest.tb_adder", simulator, parameters)


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("differs", r"adder .* seed 7 index 3: got 0, expected 1"),
        ("hangs", r"watchdog: the test still runs after 100 cycles"),
        ("takes_back", r"array__1: changed before its transfer"),
        ("no_such_test", r"no cocotb test ran"),
    ],
)
def test_a_wrong_bench_fails(simulator, test, message):
    with pytest.raises(SimulationError, match=message):
        run_bench("sim.selftest.tb_wrong", simulator, {"bits": 8}, test=test)


def test_an_unknown_simulator_is_named():
    with pytest.raises(SimulationError, match="no simulator 'questa'; there are verilator, icarus"):
        run_bench("sim.selftest.tb_adder", "questa", {"bits": 8})


def test_replaced_builds_are_removed_when_they_are_old(tmp_path):
    ages = {"tb_a-1": 9000, "tb_a-2": 60, "tb_a-3": 9000, "tb_b-1": 9000, "tb_a-x-1": 9000}
    for name, age in ages.items():
        built = tmp_path / name / "built"
        built.parent.mkdir()
        built.touch()
        built.parent.with_suffix(".lock").touch()
        at = built.stat().st_mtime - age
        os.utime(built, (at, at))
    prune(tmp_path / "tb_a-3")
    kept = {"tb_a-2", "tb_a-3", "tb_b-1", "tb_a-x-1"}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == kept
    assert {path.stem for path in tmp_path.glob("*.lock")} == kept
