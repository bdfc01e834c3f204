"""Runs the command line inside the test's process, as its entry point would."""

import sys
from dataclasses import dataclass

import pytest

from cli.main import main


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    def refused(self) -> str:
        """The one line of a refusal: status 2, nothing else after it, no traceback."""
        assert self.status == 2, self
        lines = [line for line in self.err.splitlines() if not line.endswith(" ...")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        assert len(lines[0]) < 400
        return lines[0]


@pytest.fixture
def sievit(monkeypatch, capsys):
    """Call `sievit(arguments ..)`; anything but a clean exit fails the test."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sievit", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "120")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ended(status=ended.value.code, out=out, err=err)

    return call
