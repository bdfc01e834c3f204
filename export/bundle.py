"""The bundle: all files that an integrator needs, in a folder written whole or not at all."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export import project_files
from export.errors import ExportError
from export.readme import readme
from export.register_files import write_register_files
from export.register_map import systemrdl
from export.testbench import dram_words, expected_words, testbench
from export.vectors import vectors
from rtl_gen.emit import verilog
from sim.files import ROOT
from sim.lint import WAIVERS
from spec.c_header import c_header
from spec.config import Config
from spec.model_file import Model

__all__ = ["FILES", "MANIFEST", "VERSION", "check_target", "write_bundle"]

VERSION = "0.1.0"
"""Of the bundle's core and IP-XACT component."""
MANIFEST = "SHA256SUMS"
"""Digests of all files but itself: `sha256sum -c SHA256SUMS`. A folder that has it is a bundle."""
DRIVER = ROOT / "host" / "c"
BUILT = "build"
"""Folder inside a bundle that its Makefile fills."""
FILES = {
    "sievit_top.v": "the design, one file, top module `sievit_top`",
    "sievit.f": "file list of the design",
    "sievit.core": "FuseSoC core: targets `default`, `lint`, `sim`",
    "lint.vlt": "Verilator's waivers for the design, each with its reason",
    "tb_sievit.v": "stand-alone testbench with its DRAM, plain Verilog",
    "dram.hex": "what the DRAM holds: program, weights, images",
    "expected.hex": "the logits that must come out",
    "Makefile": "`make icarus`, `make verilator`, `make lint`",
    "sievit.sdc": "constraint hints: clock, AXI ports",
    "sievit.xdc": "the same for Vivado",
    "sievit.lpf": "the same for nextpnr-ecp5 and Diamond",
    "registers/sievit.rdl": "register map in SystemRDL 2.0",
    "registers/sievit.xml": "in IP-XACT (IEEE 1685-2014)",
    "registers/html/index.html": "as pages; to be served, or opened by a launcher beside it",
    "registers/sievit_map.h": "as C structures",
    "driver/sievit_registers.h": "as C constants and texts",
    "driver/sievit_driver.h": "a small C99 driver of the registers: what it needs and does",
    "driver/sievit_driver.c": "the driver",
    "README.md": "this file",
    "LICENSE": "Apache-2.0, of all but the pages' styles, scripts and fonts",
    MANIFEST: "digests of all files",
}
"""What a bundle holds, and what each file is; beside what belongs to the HTML pages."""


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its name there, but for the manifest's."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    names.pop(MANIFEST, None)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items()}


def _manifest(folder: Path) -> dict[str, str]:
    """The digests that a bundle's manifest names, by file."""
    lines = (folder / MANIFEST).read_text(errors="replace").splitlines()
    rows = [line.split("  ", 1) for line in lines if "  " in line]
    return {name: digest for digest, name in rows}


def check_target(folder: Path) -> None:
    """Refuse a folder whose files are not all those of a bundle, as it was written."""
    if not folder.exists() and folder.parent.is_dir():
        return
    if not folder.is_dir():
        where = "not a folder" if folder.exists() else f"there is no folder {folder.parent}"
        raise ExportError(f"cannot write a bundle to {folder}: {where}")
    if not any(folder.iterdir()):
        return
    if not (folder / MANIFEST).is_file():
        raise ExportError(f"{folder}: not empty and not a bundle; give another folder")
    known = _manifest(folder)
    found = {n: d for n, d in _digests(folder).items() if not n.startswith(f"{BUILT}/")}
    for name, digest in found.items():
        if known.get(name) != digest:
            word = "was changed since it was written" if name in known else "is not of the bundle"
            raise ExportError(f"{folder}: {name} {word}; move it away, or give another folder")


def write_bundle(
    folder: Path,
    config: Config,
    model: Model,
    model_name: str,
    images: NDArray[np.uint8],
    clock_mhz: float = project_files.CLOCK_MHZ,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write a bundle; the same arguments give the same bytes.

    folder : new, empty, or a bundle that nobody changed, which is replaced
    model_name : how the README calls the model
    images : uint8 [n, height, width] or [n, channels, height, width], for the testbench
    clock_mhz : what the constraint hints ask for
    `ExportError`: the folder holds something else, or an exporter is missing or fails.
    """
    tell = progress or (lambda text: None)
    check_target(folder)
    with tempfile.TemporaryDirectory(dir=folder.resolve().parent, prefix=".bundle-") as name:
        new = Path(name) / "bundle"
        new.mkdir()
        tell("registers: SystemRDL, IP-XACT, C, HTML")
        _registers(new, config)
        tell(f"compiling {model_name}, {len(images)} images through the golden model")
        found = vectors(model, config, images)
        texts = {
            "sievit.f": project_files.file_list(),
            "sievit.core": project_files.core_file(config, VERSION),
            "Makefile": project_files.makefile(),
            **project_files.constraints(config, clock_mhz),
            "tb_sievit.v": testbench(config, model.config, found),
            "dram.hex": dram_words(found, config),
            "expected.hex": expected_words(found),
            "lint.vlt": WAIVERS.read_text(),
            "LICENSE": (ROOT / "LICENSE").read_text(),
            "README.md": readme(
                config, project_files.core_name(config, VERSION), FILES, model_name, len(images)
            ),
        }
        tell(f"emitting {config.name}")
        texts["sievit_top.v"] = verilog(config)
        for file, text in texts.items():
            (new / file).write_text(text)
        digests = _digests(new)
        (new / MANIFEST).write_text("".join(f"{d}  {file}\n" for file, d in digests.items()))
        if folder.is_dir():
            # What `make` built stays behind in the old one; both are gone when this block ends
            folder.rename(Path(name) / "old")
        new.rename(folder)


def _registers(folder: Path, config: Config) -> None:
    """The register map in all its forms, and the driver in C."""
    registers = folder / "registers"
    registers.mkdir()
    (registers / "sievit.rdl").write_text(systemrdl(config))
    write_register_files(registers / "sievit.rdl", VERSION)
    driver = folder / "driver"
    driver.mkdir()
    (driver / "sievit_registers.h").write_text(c_header())
    for source in sorted(DRIVER.glob("sievit_driver.[ch]")):
        (driver / source.name).write_text(source.read_text())
