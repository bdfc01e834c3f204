"""The simulation infrastructure itself: benches pass, fail and stop when they should."""

import pytest

from sim.bench import SIMULATORS, run_bench
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
