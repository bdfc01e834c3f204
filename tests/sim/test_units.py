"""Every unit bench, under both simulators, with its parameter sets."""

import importlib
from pathlib import Path

import pytest

from sim.bench import SIMULATORS, run_bench

UNITS = Path(__file__).resolve().parents[2] / "sim" / "units"
DEFAULT_SETS = 2
"""Parameter sets of each bench in the default run; the regression takes all of them."""
REGRESSION_SEEDS = (2, 3, 4)


def benches(sets=slice(None)):
    """Module, simulator and parameters of each run."""
    for path in sorted(UNITS.glob("tb_*.py")):
        module = importlib.import_module(f"sim.units.{path.stem}")
        for parameters in module.PARAMETERS[sets]:
            label = "-".join(f"{key}={value}" for key, value in parameters.items())
            for simulator in SIMULATORS:
                yield pytest.param(
                    module.__name__, simulator, parameters, id=f"{path.stem}-{label}-{simulator}"
                )


BENCH = ("bench", "simulator", "parameters")


@pytest.mark.parametrize(BENCH, list(benches(slice(DEFAULT_SETS))))
def test_unit(bench, simulator, parameters):
    run_bench(bench, simulator, parameters)


@pytest.mark.regress
@pytest.mark.parametrize(BENCH, list(benches(slice(DEFAULT_SETS, None))))
def test_unit_of_another_size(bench, simulator, parameters):
    run_bench(bench, simulator, parameters)


@pytest.mark.regress
@pytest.mark.parametrize("seed", REGRESSION_SEEDS)
@pytest.mark.parametrize(BENCH, list(benches()))
def test_unit_with_other_random_stimuli(bench, simulator, parameters, seed):
    run_bench(bench, simulator, parameters, seed=seed)
