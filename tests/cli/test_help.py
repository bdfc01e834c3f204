"""Help that a stranger can use, and soon."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cli.main import app

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = typer.main.get_command(app).commands
SLOW_TO_IMPORT = ("numpy", "amaranth", "safetensors", "torch", "cocotb", "golden_model", "sim")


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_explains_itself(sievit, verb):
    ended = sievit(verb, "--help")
    assert ended.status == 0
    assert ended.err == ""
    assert f"Example: sievit {verb}" in plain(ended.out)
    nameless = [option.name for option in COMMANDS[verb].params if not option.help]
    assert nameless == []


@pytest.mark.parametrize("verb", COMMANDS)
def test_examples_are_command_lines(verb):
    """The example of a verb's help names only options that exist."""
    example = COMMANDS[verb].help.partition("Example: ")[2].split()
    assert example[:2] == ["sievit", verb]
    options = {name for option in COMMANDS[verb].params for name in option.opts}
    assert {word for word in example if word.startswith("-")} <= options


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_the_command_lists_its_verbs(sievit, arguments):
    ended = sievit(*arguments)
    assert ended.status == 0
    assert [verb for verb in COMMANDS if f" {verb} " not in plain(ended.out)] == []


@pytest.mark.parametrize("verb", ["doctor", "demo", "compile", "run", "emit", "simulate", "synth"])
def test_verbs_that_report_write_json(verb):
    assert "--json" in {name for option in COMMANDS[verb].params for name in option.opts}


def test_help_imports_nothing_heavy():
    """A time would depend on the machine; what is imported does not."""
    script = (
        "import sys, json; import cli.main; "
        f"print(json.dumps([name for name in {SLOW_TO_IMPORT} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == []


def test_module_and_exit_status_in_a_process_of_its_own():
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "emit", "--preset", "huge"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: no preset 'huge'; there are asic512, small, tiny, ulx3s, zcu102\n"
