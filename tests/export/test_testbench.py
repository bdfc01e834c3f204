"""The stand-alone testbench: passes under both simulators, and fails when anything is wrong."""

import os
import re
import shutil
import subprocess

import pytest

from cli.options import load_dataset, load_model
from compiler import compile
from golden_model.vit import vit
from sim.flip import flip_weight_bit
from sim.verilator_kit import environment
from spec.image import ALIGNMENT_BYTES
from spec.presets import preset

VECTORS = ("dram.hex", "expected.hex")


def run(command, folder):
    """Run a command in a folder; returns its status and everything it says."""
    # A short run: its C++ is compiled as fast as possible
    variables = {**os.environ, **environment(), "MAKEFLAGS": "OPT_FAST=-O0 OPT_GLOBAL=-O0"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def icarus(bundle, tmp_path_factory):
    """The testbench built by Icarus, as the README says; gets vectors at run time."""
    folder = tmp_path_factory.mktemp("icarus")
    for name in ("sievit.f", "sievit_top.v", "tb_sievit.v"):
        shutil.copy(bundle / name, folder)
    command = ["iverilog", "-g2005", "-o", "tb.vvp", "-f", "sievit.f", "tb_sievit.v"]
    status, said = run(command, folder)
    assert status == 0, said
    assert said == ""
    return folder


def flipped(line, bit):
    """A line of hexadecimal digits with one bit flipped, counted from its lowest."""
    return f"{int(line, 16) ^ 1 << bit:0{len(line)}x}"


def simulate(icarus, bundle, tmp_path, *plusargs, change=None):
    """Run the built testbench on the bundle's vectors, with one line of one file changed."""
    for name in VECTORS:
        lines = (bundle / name).read_text().splitlines()
        if change and change[0] == name:
            at, bit = change[1:]
            lines[at] = flipped(lines[at], bit)
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    return run(["vvp", "-n", str(icarus / "tb.vvp"), *plusargs], tmp_path)


def test_it_passes_under_icarus(icarus, bundle, tmp_path):
    status, said = simulate(icarus, bundle, tmp_path)
    assert status == 0, said
    assert re.fullmatch(
        r"image 0: \d{4} cycles\nimage 1: \d{4} cycles\nPASS: 2 images, 20 logits equal\n", said
    ), said


def test_a_slow_memory_changes_cycles_only(icarus, bundle, tmp_path):
    usual = simulate(icarus, bundle, tmp_path, "+images=1")
    slow = simulate(icarus, bundle, tmp_path, "+images=1", "+latency=150", "+stall=100")
    assert (usual[0], slow[0]) == (0, 0)
    cycles = [int(re.search(r"(\d+) cycles", said)[1]) for _, said in (usual, slow)]
    assert cycles[1] > cycles[0] + 100
    assert "PASS: 1 images, 10 logits equal" in slow[1]


def test_a_flipped_bit_of_what_is_expected_fails(icarus, bundle, tmp_path):
    change = ("expected.hex", 7, 0)
    status, said = simulate(icarus, bundle, tmp_path, "+images=1", change=change)
    assert status != 0
    assert "FAIL: 1 logits differ" in said
    assert re.search(r"image 0, class 7: got -?\d+, expected -?\d+", said)


def test_a_flipped_bit_of_the_weights_fails(icarus, bundle, tmp_path):
    config, model = preset("tiny"), load_model("micro")
    image = compile(model, config)
    wrong = flip_weight_bit(image, config, 17).weights
    place = int((wrong != image.weights).nonzero()[0][0])
    mask = int(wrong[place] ^ image.weights[place])
    parameters = (bundle / "tb_sievit.v").read_text()
    byte = int(re.search(r"parameter WEIGHTS_AT = (\d+)", parameters)[1]) + place
    bit = 8 * (byte % 8) + mask.bit_length() - 1
    change = ("dram.hex", byte // 8, bit)
    status, said = simulate(icarus, bundle, tmp_path, "+images=1", change=change)
    assert status != 0
    assert re.search(r"FAIL: \d+ logits differ", said), said


def test_another_machine_is_noticed(bundle, tmp_path):
    """The digest register of a machine of one word more says so."""
    text = (bundle / "tb_sievit.v").read_text()
    digest = f"32'h{preset('tiny').digest() & 0xFFFFFFFF:08x}"
    assert text.count(digest) == 1
    (tmp_path / "tb_sievit.v").write_text(text.replace(digest, "32'h12345678"))
    for name in ("sievit.f", "sievit_top.v", *VECTORS):
        shutil.copy(bundle / name, tmp_path)
    command = ["iverilog", "-g2005", "-o", "tb.vvp", "-f", "sievit.f", "tb_sievit.v"]
    assert run(command, tmp_path)[0] == 0
    status, said = run(["vvp", "-n", "tb.vvp"], tmp_path)
    assert status != 0
    assert said.startswith("FAIL: DIGEST: got ")


@pytest.mark.parametrize(
    ("plusargs", "message"),
    [
        (("+limit=50",), "FAIL: image 0: no interrupt after 50 cycles, STATUS is"),
        (("+images=3",), "FAIL: there are 2 images, not 3"),
        (("+images=1", "+expected=nothing.hex"), "FAIL: 10 logits differ"),
        (("+dram=nothing.hex",), "FAIL: "),
    ],
)
def test_it_fails_in_words(icarus, bundle, tmp_path, plusargs, message):
    status, said = simulate(icarus, bundle, tmp_path, *plusargs)
    assert status != 0
    assert message in said
    assert "PASS" not in said


def test_an_opcode_that_is_none_fails(icarus, bundle, tmp_path):
    """The first instruction's opcode, behind the header of the memory."""
    change = ("dram.hex", ALIGNMENT_BYTES // 8, 7)
    status, said = simulate(icarus, bundle, tmp_path, change=change)
    assert status != 0
    assert re.search(r"FAIL: image 0: STATUS is (4|12), error 1 at instruction 0\n", said)


def test_it_passes_under_verilator_and_fails_there_too(copied):
    """`make verilator`, then one wrong bit."""
    status, said = run(["make", "verilator"], copied)
    assert status == 0, said
    assert "PASS: 2 images, 20 logits equal" in said
    lines = (copied / "expected.hex").read_text().splitlines()
    lines[12] = flipped(lines[12], 15)
    (copied / "expected.hex").write_text("\n".join(lines) + "\n")
    status, said = run(["make", "verilator"], copied)
    assert status != 0
    assert "image 1, class 2: got " in said
    assert "FAIL: 1 logits differ" in said


def test_the_vectors_are_the_golden_models(bundle):
    model = load_model("micro")
    images = load_dataset("sample", "test", model.config).images[:2]
    words = [int(line, 16) for line in (bundle / "expected.hex").read_text().split()]
    assert words == [int(logit) & 0xFFFF for logit in vit(model, images).reshape(-1)]
