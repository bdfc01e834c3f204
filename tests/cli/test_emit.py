"""`sievit emit --bundle` and `sievit simulate --netlist`: reports, and refusals before the work."""

import hashlib
import json
import re

import pytest

from boards.gate_netlist import Netlist
from cli import options
from rtl_gen.emit import verilog

ON_MICRO = ("simulate", "--model", "micro", "--preset", "tiny")


@pytest.fixture
def _export():
    missing = [name for name in options.EXTRAS["export"] if not options.installed(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (extra export)")


@pytest.mark.usefixtures("_export")
def test_a_bundle(sievit, tmp_path):
    folder, path = tmp_path / "sievit-tiny", tmp_path / "report.json"
    ended = sievit("emit", "--bundle", folder, "--images", 4, "--clock-mhz", 80, "--json", path)
    assert ended.status == 0, ended.err
    report = json.loads(path.read_text())
    manifest = (folder / "SHA256SUMS").read_bytes()
    assert report["sha256"] == hashlib.sha256(manifest).hexdigest()
    assert (report["preset"], report["model"], report["images"]) == ("tiny", "micro", 4)
    assert f"{report['files']} files for tiny, micro on 4 images" in ended.out
    assert "-period 12.500 " in (folder / "sievit.sdc").read_text()
    assert len((folder / "expected.hex").read_text().split()) == 40


@pytest.mark.usefixtures("_export")
def test_bundles_that_are_refused(sievit, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    line = sievit("emit", "--bundle", tmp_path).refused()
    assert re.search(r"not empty and not a bundle; give another folder$", line)
    line = sievit("emit", "--bundle", tmp_path / "no" / "where").refused()
    assert "cannot write a bundle to" in line
    line = sievit("emit", "--bundle", tmp_path / "new", "--out", tmp_path / "x.v").refused()
    assert "--out and --bundle do not go together" in line
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_missing_exporters_are_named(sievit, tmp_path, monkeypatch):
    monkeypatch.setattr(options, "installed", lambda name: not name.startswith("peakrdl"))
    line = sievit("emit", "--bundle", tmp_path / "new").refused()
    assert "peakrdl_html, peakrdl_ipxact, peakrdl_cheader not installed" in line
    assert "pip install -e '.[export]'" in line


def test_a_changed_gate_needs_a_netlist(sievit):
    assert "--change-gate needs --netlist" in sievit(*ON_MICRO, "--change-gate", 3).refused()


def test_the_netlist_takes_the_machines_place(sievit, monkeypatch):
    """Synthesis, which takes minutes, is replaced: by the emitted Verilog, and by a wrong one."""
    from boards import gate_netlist

    text = []

    def synthesised(config, progress):
        return Netlist(verilog=text[0], models="", cells={"$_AND_": 7, "$_DFF_P_": 2}, wall_s=3.0)

    monkeypatch.setattr(gate_netlist, "machine_netlist", synthesised)
    from spec.presets import preset

    emitted = verilog(preset("tiny"))
    text.append(emitted)
    ended = sievit(*ON_MICRO, "--netlist")
    assert ended.status == 0, ended.err
    assert "netlist: 7 gates, 2 flip-flops, 0 memories; synthesis took 3 s" in ended.out
    text[0] = "module sievit_top; endmodule\n"
    assert "cannot build it" in sievit(*ON_MICRO, "--netlist").err
    line = sievit(*ON_MICRO, "--netlist", "--change-gate", 3).refused()
    assert "the netlist has AND gates" in line
