"""The folder: the same bytes twice, whole or not at all, and what other tools say of its files."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli.options import load_dataset, load_model
from sim.ports import top_ports
from spec.presets import preset
from tests.export.test_testbench import run

ROOT = Path(__file__).resolve().parents[2]


def written(folder, images=1):
    """Write a bundle of `tiny` and `micro`."""
    from export.bundle import write_bundle

    model = load_model("micro")
    data = load_dataset("sample", "test", model.config)
    write_bundle(folder, preset("tiny"), model, "micro", data.images[:images])


def content(folder):
    """Every file's bytes, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_file_is_there_and_described(bundle):
    from export.bundle import FILES

    found = set(content(bundle))
    assert set(FILES) <= found
    others = found - set(FILES)
    assert all(name.startswith("registers/html/") for name in others)
    readme = (bundle / "README.md").read_text()
    assert [name for name in FILES if f"| `{name}` | {FILES[name]} |" not in readme] == []
    document = (ROOT / "docs" / "integration.md").read_text()
    assert [name for name in FILES if f"`{name}`" not in document] == []


def test_the_manifest_holds(bundle):
    done = subprocess.run(
        ["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=bundle, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert len((bundle / "SHA256SUMS").read_text().splitlines()) == len(content(bundle)) - 1


def test_the_same_bytes_twice_in_place_of_the_first(copied):
    """Into the bundle itself, which `make` has filled too; nothing is left beside it."""
    before = content(copied)
    (copied / "build").mkdir()
    (copied / "build" / "tb_sievit.vvp").write_text("built")
    written(copied, images=2)
    assert content(copied) == before
    assert [path.name for path in copied.parent.iterdir()] == [copied.name]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda at: (at / "SHA256SUMS").unlink(), "not empty and not a bundle"),
        (lambda at: (at / "notes.txt").write_text("mine"), "notes.txt is not of the bundle"),
        (lambda at: (at / "sievit.sdc").write_text(""), "sievit.sdc was changed since it was"),
    ],
)
def test_a_folder_with_something_else_is_refused(copied, damage, message):
    from export.bundle import check_target
    from export.errors import ExportError

    damage(copied)
    before = content(copied)
    with pytest.raises(ExportError) as caught:
        written(copied)
    assert message in str(caught.value)
    assert content(copied) == before
    assert "\n" not in str(caught.value)
    with pytest.raises(ExportError):
        check_target(copied)


def test_places_that_are_no_folders_are_refused(tmp_path):
    from export.errors import ExportError

    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "nowhere" / "bundle"):
        with pytest.raises(ExportError, match="cannot write a bundle to"):
            written(place)


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    """The last step fails: there is no folder, and a bundle that was there stays as it was."""
    from export import bundle as module

    def fail(config):
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "verilog", fail)
    with pytest.raises(OSError, match="no space"):
        written(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_the_design_lints(bundle):
    """As the README says, with all warnings; the waivers are needed and enough."""
    status, said = run(["make", "lint"], bundle)
    assert status == 0, said
    assert "%" not in said
    command = ["verilator", "--lint-only", "-Wall", "--top-module", "sievit_top", "sievit_top.v"]
    assert run(command, bundle)[0] != 0


def fusesoc(folder, target, *arguments):
    """Run a target of the core, in a folder of its own."""
    from export.bundle import VERSION
    from export.project_files import core_name

    program = Path(sys.executable).parent / "fusesoc"
    if not program.exists():
        pytest.skip("fusesoc not installed (extra export)")
    core = core_name(preset("tiny"), VERSION)
    command = [str(program), "--cores-root", str(folder), "run", f"--target={target}"]
    return run([*command, *arguments, core], folder)


def test_fusesoc_lints(copied):
    status, said = fusesoc(copied, "lint")
    assert status == 0, said
    assert "verilator -f" in said


@pytest.mark.regress
def test_fusesoc_simulates_with_icarus(copied):
    status, said = fusesoc(copied, "sim")
    assert status == 0, said
    assert "PASS: 2 images" in said
    (copied / "expected.hex").write_text("8000\n" * 20)
    status, said = fusesoc(copied, "sim")
    assert status != 0
    assert "FAIL: 20 logits differ" in said


@pytest.mark.regress
def test_fusesoc_simulates_with_verilator(copied):
    status, said = fusesoc(copied, "sim", "--tool=verilator")
    assert status == 0, said
    assert "PASS: 2 images" in said


def test_constraints_name_ports_that_are_there(bundle):
    text = (bundle / "sievit.sdc").read_text()
    directions = {name: output for name, _, output in top_ports(preset("tiny"))}
    found = {}
    for kind, ports in re.findall(r"^set_(\w+)_delay 6.000 .*?\{(.*?)\}", text, re.M | re.S):
        found |= {name.removesuffix("[*]"): kind == "output" for name in ports.split()}
    wanted = {n: d for n, d in directions.items() if n != "clk" and not n.startswith("trace_")}
    assert found == wanted
    assert "create_clock -name clk -period 20.000 [get_ports clk]" in text
    assert 'FREQUENCY PORT "clk" 50 MHZ;' in (bundle / "sievit.lpf").read_text()


def test_the_version_is_the_projects():
    from export.bundle import VERSION

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
