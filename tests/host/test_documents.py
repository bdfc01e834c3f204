"""The example of docs/host.md, as it stands there."""

import re
from pathlib import Path

from golden_model.machine import machine
from tests.host.boards import TINY, micro

ROOT = Path(__file__).resolve().parents[2]


def test_the_example(monkeypatch, capsys):
    text = (ROOT / "docs" / "host.md").read_text()
    section = text.partition("## In Python\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^(?: {4}(.*))?$", section, re.MULTILINE)
    monkeypatch.chdir(ROOT)
    exec("\n".join(lines), {})
    image, inputs = micro()
    expected = [machine(image, TINY, patches).logits for patches in inputs]
    printed = capsys.readouterr().out
    assert printed == "".join(f"{logits.argmax()} {logits} None\n" for logits in expected)
