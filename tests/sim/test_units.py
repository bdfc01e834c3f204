"""Every unit bench, under both simulators, with each of its parameter sets."""

import importlib
from pathlib import Path

import pytest

from sim.bench import SIMULATORS, run_bench

UNITS = Path(__file__).resolve().parents[2] / "sim" / "units"


def benches():
    for path in sorted(UNITS.glob("tb_*.py")):
        module = importlib.import_module(f"sim.units.{path.stem}")
        for parameters in module.PARAMETERS:
            label = "-".join(f"{key}={value}" for key, value in parameters.items())
            for simulator in SIMULATORS:
                yield pytest.param(
                    module.__name__, simulator, parameters, id=f"{path.stem}-{label}-{simulator}"
                )


@pytest.mark.parametrize(("bench", "simulator", "parameters"), list(benches()))
def test_unit(bench, simulator, parameters):
    run_bench(bench, simulator, parameters)
