"""Trained vision transformers of other libraries, brought to the project's float model."""

from quantize.importers.read import Imported, import_file
from quantize.importers.table import ImportRefusedError, ImportTable, Row, Verdict

__all__ = ["ImportRefusedError", "ImportTable", "Imported", "Row", "Verdict", "import_file"]
