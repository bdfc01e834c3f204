"""The documents: links lead somewhere, commands exist, tables are those of the specification."""

import re
import tomllib
from pathlib import Path

import pytest
import typer

from cli.main import app
from spec.describe import BLOCKS, refresh
from spec.isa import BODIES
from spec.meanings import COUNTER_MEANINGS, FIELD_MEANINGS, HEADER_MEANINGS, REGISTER_MEANINGS
from spec.registers import COUNTERS, REGISTERS, STALLS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PACKAGES = (
    "spec|golden_model|quantize|training|compiler|rtl_gen|perf_model|sim|search|export|host|boards|cli|"
    "tests|docs"
)


def documents():
    return [pytest.param(path, id=path.name) for path in DOCUMENTS]


def code(path):
    """Text in backticks and in indented blocks, where commands stand."""
    text = path.read_text()
    indented = re.findall(r"^ {4}(.+)$", text, re.MULTILINE)
    return [*re.findall(r"`([^`\n]+)`", text), *indented]


def anchors(path):
    """GitHub's anchors of a document's headings."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", documents())
def test_links_resolve(path):
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    assert wrong == []


@pytest.mark.parametrize("path", documents())
def test_files_exist(path):
    pattern = re.compile(rf"^(?:{PACKAGES})/[\w./]*$")
    named = {text for text in code(path) if pattern.match(text)}
    assert [text for text in sorted(named) if not (ROOT / text).exists()] == []


@pytest.mark.parametrize("path", documents())
def test_make_targets_exist(path):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    used = {found for text in code(path) for found in re.findall(r"^make ([a-z]+)", text)}
    assert used <= targets


@pytest.mark.parametrize("path", documents())
def test_commands_exist(path):
    verbs = typer.main.get_command(app).commands
    wrong = []
    for text in code(path):
        words = text.partition("#")[0].split()
        if not words or words[0] != "sievit" or len(words) == 1:
            continue
        if words[1] not in verbs:
            wrong.append(text)
            continue
        options = {name for option in verbs[words[1]].params for name in option.opts}
        used = {word for word in words[2:] if word.startswith("--")}
        if not used <= options | {"--help"}:
            wrong.append(text)
    assert wrong == []


def test_the_readme_names_both_commands_and_every_verb():
    readme = (ROOT / "README.md").read_text()
    assert {"make demo", "make test", "make regress"} <= set(
        re.findall(r"make (?:demo|test|regress)", readme)
    )
    for verb in typer.main.get_command(app).commands:
        assert f"sievit {verb}" in readme, f"README.md does not show `sievit {verb}`"


def test_every_result_names_its_command():
    section = (ROOT / "README.md").read_text().partition("## Results")[2].partition("\n## ")[0]
    lines = section.splitlines()
    headers = [n for n, line in enumerate(lines) if line.startswith("| --")]
    rows = [
        line
        for n, line in enumerate(lines)
        if line.startswith("|") and n not in headers and n + 1 not in headers
    ]
    assert len(rows) > 10
    assert [row for row in rows if not re.search(r"\| `(sievit|make) [^`]+` \|$", row)] == []


@pytest.mark.parametrize("path", documents())
def test_tables_are_those_of_the_specification(path):
    text = path.read_text()
    assert text == refresh(text), "run: python -m spec.describe docs/*.md"


def test_every_table_has_its_place():
    text = "".join(path.read_text() for path in DOCUMENTS)
    assert [name for name in BLOCKS if f"<!-- spec:{name} -->" not in text] == []
    assert text.count("<!-- spec:") == text.count("<!-- /spec -->")


def test_a_table_that_drifted_is_noticed():
    text = (ROOT / "docs" / "programming.md").read_text()
    assert refresh(text.replace("0x014", "0x018")) == text


def test_everything_has_a_meaning():
    assert set(REGISTER_MEANINGS) == set(REGISTERS)
    stalls = {f"stall_{cause}_cycles" for cause in STALLS}
    assert set(COUNTER_MEANINGS) == set(COUNTERS) - stalls
    for opcode, body in BODIES.items():
        assert set(FIELD_MEANINGS[opcode]) == set(body.members), opcode
    assert "reserved" in HEADER_MEANINGS


def test_every_stall_is_explained():
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.partition("## Counters and stalls")[2].partition("\n## ")[0]
    assert [cause for cause in STALLS if cause not in section] == []


def test_every_dependency_has_its_notice():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[\[<>=!~; ]", text)[0] for group in groups for text in group}
    notices = (ROOT / "THIRD_PARTY.md").read_text()
    assert [name for name in sorted(names) if f"| {name} " not in notices] == []


def test_the_licence_is_the_one_that_is_declared():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "Apache-2.0" in (ROOT / "pyproject.toml").read_text()
