"""Puts the verbs together, and turns every expected error into one line and an exit status."""

import os
import sys

# Before numpy: the golden model runs its own threads; BLAS threads only get in their way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer
from rich.console import Console

from cli import (
    bench,
    compile,
    demo,
    doctor,
    emit,
    quantize,
    report,
    run,
    simulate,
    synth,
    train,
)
from cli.errors import BAD_INPUT, CHECK_FAILED, CheckFailedError, UsageError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "Turns a trained vision transformer into a bit-exact 8-bit hardware accelerator.\n\n"
        "Start with [bold]sievit doctor[/] and [bold]sievit demo[/]. Exit status: 0 when what was "
        "checked holds, 1 when a check failed, 2 on bad input."
    ),
)
for verb in (doctor, demo, train, quantize, compile, run, emit, simulate, synth, report, bench):
    name = verb.__name__.rpartition(".")[2]
    app.command(name, help=verb.command.__doc__)(verb.command)


def _expected_errors() -> tuple[type[Exception], ...]:
    """The exceptions by which the packages refuse bad input, of the packages in use."""
    names = {
        "ConfigError",
        "ModelFileError",
        "ImageError",
        "PixelError",
        "AssemblerError",
        "CompileError",
        "QuantizeError",
        "GoldenError",
        "SimulationError",
        "TrainingError",
        "SynthesisError",
    }
    found: list[type[Exception]] = [UsageError]
    for module in list(sys.modules.values()):
        package = getattr(module, "__name__", "").partition(".")[0]
        if package in ("spec", "quantize", "compiler", "golden_model", "sim", "training", "boards"):
            found += [
                value
                for name, value in vars(module).items()
                if name in names and isinstance(value, type)
            ]
    return tuple(found)


def main() -> None:
    """Entry point of the `sievit` command."""
    try:
        app()
    except CheckFailedError as error:
        Console(stderr=True).print(f"[red]failed:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(CHECK_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not isinstance(error, _expected_errors()):
            raise
        Console(stderr=True, markup=False).print(f"error: {error}", highlight=False, soft_wrap=True)
        sys.exit(BAD_INPUT)
