"""The register map in the formats of others, by the exporters of PeakRDL (extra `export`)."""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.errors import ExportError

if TYPE_CHECKING:
    from systemrdl.node import RootNode

__all__ = ["write_register_files"]

_INSTALL = "pip install -e '.[export]'"
VENDOR, LIBRARY = "sievit", "accelerators"


def _compiled(path: Path) -> "RootNode":
    """The elaborated address map of a SystemRDL file."""
    try:
        from systemrdl.compiler import RDLCompiler
        from systemrdl.messages import RDLCompileError
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    compiler = RDLCompiler()
    try:
        compiler.compile_file(str(path))
        return compiler.elaborate()
    except RDLCompileError as error:
        raise ExportError(f"{path.name}: the SystemRDL compiler refuses it: {error}") from None


def _missing(error: ModuleNotFoundError) -> ExportError:
    return ExportError(f"{error.name} is not installed; in the clone of sievit: {_INSTALL}")


def write_register_files(rdl: Path, version: str) -> None:
    """Write beside a SystemRDL file its IP-XACT (.xml), C header (_map.h) and HTML (html/).

    version : of the IP-XACT component
    """
    root, folder = _compiled(rdl), rdl.parent
    try:
        from peakrdl_cheader.exporter import CHeaderExporter
        from peakrdl_html import HTMLExporter
        from peakrdl_ipxact import IPXACTExporter
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    IPXACTExporter(vendor=VENDOR, library=LIBRARY, version=version).export(
        root, str(folder / f"{rdl.stem}.xml")
    )
    CHeaderExporter().export(root, str(folder / f"{rdl.stem}_map.h"))
    pages: dict[str, Any] = {"title": "sievit registers", "footer": ""}
    HTMLExporter(generate_source_links=False).export(root, str(folder / "html"), **pages)
    _fix_time(folder / "html" / "index.html", rdl)


def _fix_time(page: Path, rdl: Path) -> None:
    """Replace the time of the export, which names a version of the page, by a digest of the map."""
    text = page.read_text()
    found = re.search(r"BUILD_TS = (\d+);", text)
    if found is None:
        raise ExportError(f"peakrdl-html writes no build time into {page.name} any more")
    digest = int.from_bytes(hashlib.sha256(rdl.read_bytes()).digest()[:4], "little")
    page.write_text(text.replace(found[1], str(digest)))
