"""What ends a command, and with which status; a fault of ours keeps its traceback."""

import sys

import pytest

from boards.errors import SynthesisError
from cli import run
from cli.errors import CheckFailedError, UsageError
from cli.main import main
from compiler import CompileError
from golden_model.errors import GoldenError
from quantize import QuantizeError
from sim.errors import MachineStoppedError, SimulationError
from spec.assembler import AssemblerError
from spec.config import ConfigError
from spec.image import ImageError
from spec.model_file import ModelFileError
from spec.pixels import PixelError
from training.errors import TrainingError

REFUSALS = (
    AssemblerError,
    CompileError,
    ConfigError,
    GoldenError,
    ImageError,
    ModelFileError,
    PixelError,
    QuantizeError,
    SimulationError,
    SynthesisError,
    TrainingError,
    UsageError,
)


def ending_with(monkeypatch, error):
    def fail(_):
        raise error

    monkeypatch.setattr(run, "load_model", fail)


@pytest.mark.parametrize("kind", REFUSALS)
def test_refusals(sievit, monkeypatch, kind):
    ending_with(monkeypatch, kind("blocks.0: [red] needs 5 [/] words"))
    assert sievit("run").refused() == "error: blocks.0: [red] needs 5 [/] words"


@pytest.mark.parametrize("kind", [CheckFailedError, MachineStoppedError])
def test_failed_checks(sievit, monkeypatch, kind):
    ending_with(monkeypatch, kind("first at [1, 0]"))
    ended = sievit("run")
    assert (ended.status, ended.err) == (1, "failed: first at [1, 0]\n")


def test_the_file_system(sievit, monkeypatch):
    ending_with(monkeypatch, PermissionError(13, "Permission denied", "build/sim"))
    assert sievit("run").refused() == "error: build/sim: Permission denied"


def test_the_keyboard(sievit, monkeypatch):
    ending_with(monkeypatch, KeyboardInterrupt())
    assert sievit("run").status == 130


def test_a_fault_of_ours(monkeypatch):
    ending_with(monkeypatch, KeyError("tensor"))
    monkeypatch.setattr(sys, "argv", ["sievit", "run"])
    with pytest.raises(KeyError, match="tensor"):
        main()
