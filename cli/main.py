"""Puts the verbs together, and turns every expected error into one line and an exit status."""

import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

# Before numpy: the golden model runs its own threads; BLAS threads only get in their way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer
from rich.console import Console
from rich.text import Text

from cli import (
    bench,
    build,
    compile,
    demo,
    doctor,
    efforts,
    emit,
    estimate,
    import_model,
    latency,
    masks,
    profile,
    quantize,
    report,
    run,
    search,
    selftest,
    sieves,
    simulate,
    synth,
    train,
)
from cli.errors import BAD_INPUT, CHECK_FAILED, INTERRUPTED, CheckFailedError
from spec.errors import SievitError

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "Turns a trained vision transformer into a bit-exact 8-bit hardware accelerator.\n\n"
        "Start with [bold]sievit doctor[/] and [bold]sievit demo[/]; "
        "[bold]sievit VERB --help[/] explains a verb. Exit status: 0 when what was checked holds, "
        "1 when a check failed, 2 on bad input."
    ),
)


def _help(text: str | None) -> str:
    """A docstring with its paragraphs as single lines, which the terminal then wraps."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


for verb in (
    doctor,
    demo,
    train,
    import_model,
    quantize,
    compile,
    masks,
    profile,
    run,
    emit,
    estimate,
    latency,
    sieves,
    efforts,
    search,
    simulate,
    selftest,
    synth,
    build,
    report,
    bench,
):
    name = verb.__name__.rpartition(".")[2].removesuffix("_model")
    app.command(name, help=_help(verb.command.__doc__))(verb.command)

_BAD_ARGUMENTS: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""What typer raises for arguments it cannot take; newer releases bring a click of their own."""


def _complain(word: str, message: str, status: int) -> int:
    Console(stderr=True).print(Text.assemble((f"{word}:", "red"), " ", message), soft_wrap=True)
    return status


def _run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status."""
    try:
        return app(args=list(arguments) or ["--help"], prog_name="sievit", standalone_mode=False)
    except CheckFailedError as error:
        return _complain("failed", str(error), CHECK_FAILED)
    except SievitError as error:
        return _complain("error", str(error), BAD_INPUT)
    except _BAD_ARGUMENTS as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "sievit"
        text = error.format_message().rstrip(".")
        return _complain("error", f"{text}; see {where} --help", BAD_INPUT)
    except OSError as error:
        text = error.strerror or str(error)
        place = f"{error.filename}: " if error.filename else ""
        return _complain("error", f"{place}{text}", BAD_INPUT)
    except KeyboardInterrupt:
        return _complain("stopped", "by the keyboard", INTERRUPTED)


def main() -> None:
    """Entry point of the `sievit` command; its arguments are those of the process."""
    sys.exit(_run(sys.argv[1:]) or 0)


if __name__ == "__main__":
    main()
