"""Whatever one gives to the command line, the answer to bad input is one line and status 2."""

import gzip
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from cli import options
from compiler import compile
from quantize import datasets
from spec import image as image_format
from spec import model_file
from spec.presets import preset
from tests.cli.files import MICRO, changed, described, float_file, hostile, images_file
from tests.random_models import ODD, SMALL, random_model

NOWHERE = "no-such-folder/file"
HUGE = (1 << 62).to_bytes(8, "little")
DEEP = b'{"__metadata__":' + b"[" * 100_000


def overlapping():
    entry = {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}
    return json.dumps({"a": entry, "b": entry}).encode()


def beyond():
    entry = {"dtype": "I8", "shape": [1 << 40], "data_offsets": [0, 1 << 40]}
    return json.dumps({"a": entry}).encode()


MODEL_FILES = {
    "missing": (lambda path: path, r"no model file '.*'; bundled models: demo"),
    "folder": (lambda path: path.mkdir() or path, "no such file"),
    "empty": (lambda path: path.touch() or path, "not a readable safetensors"),
    "truncated": (
        lambda path: path.write_bytes(MICRO.read_bytes()[:-100]) and path,
        "not a readable safetensors",
    ),
    "noise": (
        lambda path: path.write_bytes(np.random.default_rng(1).bytes(5000)) and path,
        "not a readable safetensors",
    ),
    "huge header": (lambda path: path.write_bytes(HUGE + b"{}") and path, "not a readable safet"),
    "deep header": (lambda path: hostile(path, DEEP), "not a readable safetensors"),
    "overlapping": (lambda path: hostile(path, overlapping()), "not a readable safetensors"),
    "beyond the file": (lambda path: hostile(path, beyond()), "not a readable safetensors"),
    "not json": (lambda path: hostile(path, b"\xff\xfe{{{"), "not a readable safetensors"),
    "pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01.") and path, "not a readable safet"),
    "another file": (
        lambda path: images_file(path, np.zeros((1, 12, 12), np.uint8)),
        "not a quantised model: metadata 'format'",
    ),
    "another version": (lambda path: described(path, version="99"), "reads version '1' .* '99'"),
    "no shape": (lambda path: described(path, config="{}"), "config"),
    "nonsense shape": (
        lambda path: described(path, config='{"embed_dim": "many"}'),
        "config|embed_dim",
    ),
    "wrong shape": (
        lambda path: changed(path, "head.bias", np.zeros(11, np.int32)),
        r"head.bias: must be int32 \[10\], not int32 \[11\]",
    ),
    "wrong dtype": (
        lambda path: changed(path, "head.bias", np.zeros(10, np.float32)),
        r"head.bias: must be int32 \[10\], not float32",
    ),
    "nan": (
        lambda path: changed(path, "float.head.bias", np.full(10, np.nan, np.float16)),
        "float.head.bias: holds values that are not finite",
    ),
    "shift": (
        lambda path: changed(path, "head.shift", np.full(10, 200, np.uint8)),
        "head.shift: must be at most 48, not 200",
    ),
}


@pytest.mark.parametrize(("make", "message"), MODEL_FILES.values(), ids=MODEL_FILES)
def test_model_files(sievit, tmp_path, make, message):
    path = make(tmp_path / "model.safetensors")
    for verb in ("run", "compile", "simulate"):
        line = sievit(verb, "--model", path).refused()
        assert re.search(message, line), line


ARGUMENTS = {
    "no such verb": (["classify"], "No such command 'classify'; see sievit --help"),
    "no such option": (["run", "--fast"], "No such option: --fast"),
    "preset of simulate": (["simulate", "--preset", "huge"], "no preset 'huge'; there are asic512"),
    "preset of compile": (["compile", "--preset", "huge"], "no preset 'huge'; there are asic512"),
    "preset of emit": (["emit", "--preset", "huge"], "no preset 'huge'; there are asic512"),
    "preset of bench": (["bench", "--preset", "huge"], "no preset 'huge'; there are asic512"),
    "preset of demo": (["demo", "--preset", "huge"], "no preset 'huge'; there are asic512"),
    "preset of synth": (["synth", "--preset", "huge"], "no preset 'huge'; there are asic512"),
    "device": (["synth", "--device", "12k"], "--device must be one of 25k, 45k, 85k, not '12k'"),
    "frequency": (["synth", "--frequency", "-5"], "'--frequency'"),
    "target": (
        ["synth", "--target", "cyclone"],
        "--target must be one of ecp5, gates, xcup, ice40, gowin, not",
    ),
    "quick gates": (
        ["synth", "--target", "gates", "--quick"],
        "--route and --quick are for --target ecp5, not gates",
    ),
    "quick and route": (["synth", "--quick", "--route"], "--route and --quick exclude each other"),
    "model": (["run", "--model", "huge"], "no model file 'huge'; bundled models: demo"),
    "dataset": (
        ["run", "--dataset", "cats"],
        "--dataset must be sample, fashion-mnist, photos, random or a file",
    ),
    "split": (["run", "--split", "half"], "--split must be one of train, test, not 'half'"),
    "split of fashion": (
        ["simulate", "--dataset", "fashion-mnist", "--split", "half"],
        "--split must be one of train, test, not 'half'",
    ),
    "simulator": (
        ["simulate", "--simulator", "questa"],
        "--simulator must be one of verilator, icarus, not 'questa'",
    ),
    "simulator of demo": (["demo", "--simulator", "questa"], "--simulator must be one of"),
    "no images": (["simulate", "--images", "0"], "'--images'"),
    "no images to run": (["run", "--images", "0"], "'--images'"),
    "no images to calibrate": (["quantize", MICRO, "x", "--images", "0"], "'--images'"),
    "images in words": (["run", "--images", "many"], "'--images'"),
    "bandwidth": (["simulate", "--bandwidth", "11"], "'--bandwidth'"),
    "latency": (["simulate", "--latency", "65536"], "'--latency'"),
    "flip below": (["simulate", "--model", "micro", "--flip-bit", "-1"], "'--flip-bit'"),
    "flip beyond": (
        ["simulate", "--model", "micro", "--flip-bit", "999999"],
        "--flip-bit must be in 0..",
    ),
    "json nowhere": (["run", "--json", NOWHERE], f"cannot write {NOWHERE}: there is no folder"),
    "json into a folder": (["simulate", "--json", "tests"], "cannot write tests: it is a folder"),
    "emit nowhere": (["emit", "--out", NOWHERE], f"cannot write {NOWHERE}: there is no folder"),
    "compile nowhere": (["compile", "--out", NOWHERE], "there is no folder no-such-folder"),
    "quantize nowhere": (["quantize", MICRO, NOWHERE], "there is no folder no-such-folder"),
    "train nowhere": (["train", "--out", NOWHERE], "there is no folder no-such-folder"),
    "no epochs": (["train", "--epochs", "0"], "'--epochs'"),
    "no files": (["report"], "Missing argument"),
    "no report": (["report", NOWHERE], f"{NOWHERE}: No such file or directory"),
    "effort block": (
        ["run", "--model", "micro~skip2@1"],
        "micro~skip2@1: efforts[0]: skipped must hold blocks in 0..1, ascending, not [2]",
    ),
    "effort block of a name": (
        ["estimate", "--model", "deit_tiny_patch16_224~skip12"],
        "efforts[0]: skipped must hold blocks in 0..11, ascending, not [12]",
    ),
    "effort threshold": (
        ["compile", "--model", "micro~skip1@64"],
        "micro~skip1@64: a threshold must be 0..63.999 bits, not 64",
    ),
    "effort in words": (
        ["simulate", "--model", "micro~skip1@much"],
        "such as ~skip1.3@0.7, not '~skip1@much'",
    ),
    "effort without a threshold": (
        ["simulate", "--model", "micro~skip0~skip1"],
        "an effort is ~skipBLOCK.BLOCK and so on, with @BITS behind all but the last",
    ),
    "too many efforts": (
        ["run", "--model", "micro~skip0@1~skip1@1~skip0.1@1"],
        "efforts must be at most 3, not 4",
    ),
    "effort of no model": (["run", "--model", "huge~skip1@1"], "no model file 'huge'"),
    "no such effort": (
        ["estimate", "--model", "micro~skip1@1", "--effort", "2"],
        "--effort 2: micro~skip1@1 has 2 efforts, counted from 0",
    ),
    "efforts without a gate": (
        ["compile", "--model", "micro~skip1@1", "--preset", "ulx3s"],
        "efforts: 2 of them need effort_gate, preset 'ulx3s' has none (effort_gate=on)",
    ),
    "image nowhere": (["simulate", "--image", NOWHERE], f"{NOWHERE}: no such file"),
    "image of another kind": (["simulate", "--image", MICRO], "not a compiled image"),
}


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(sievit, arguments, message):
    assert message in sievit(*arguments).refused()


def test_json_that_cannot_be_written_after_all(sievit, monkeypatch, tmp_path):
    """Permissions do not bind the superuser, so the system call itself must fail here."""

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(options.tempfile, "mkstemp", refuse)
    ended = sievit("run", "--model", "micro", "--images", 1, "--json", tmp_path / "run.json")
    assert ended.refused().endswith("run.json: Permission denied")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_permission(sievit, monkeypatch, tmp_path):
    monkeypatch.setattr(options.os, "access", lambda *_: False)
    line = sievit("emit", "--out", tmp_path / "tiny.v").refused()
    assert f"no permission in {tmp_path}" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("simulate", "--model", "micro"),
        ("quantize", "FLOAT", "OUT"),
    ],
)
def test_missing_dataset_package(sievit, monkeypatch, tmp_path, arguments):
    monkeypatch.setattr(datasets.fashion_mnist, "__defaults__", (28, tmp_path / "nothing"))
    names = {
        "FLOAT": float_file(tmp_path / "float.safetensors", SMALL),
        "OUT": tmp_path / "out.safetensors",
    }
    given = [names.get(word, word) for word in arguments]
    line = sievit(*given, "--dataset", "fashion-mnist").refused()
    assert "install it with: apt-get install dataset-fashion-mnist" in line


def test_damaged_dataset(sievit, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.fashion_mnist, "__defaults__", (28, tmp_path))
    for kind in ("images-idx3", "labels-idx1"):
        (tmp_path / f"t10k-{kind}-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x03abc"))
    line = sievit("run", "--dataset", "fashion-mnist").refused()
    assert "not an idx file of unsigned bytes in 3 dimensions" in line


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["simulate"], "sim"),
        (["demo"], "sim"),
        (["bench"], "sim"),
        (["report", "x.json"], "sim"),
        (["train"], "train"),
        (["synth"], "fpga"),
    ],
)
def test_missing_extra(sievit, monkeypatch, arguments, extra):
    monkeypatch.setattr(options, "find_spec", lambda name: None)
    line = sievit(*arguments).refused()
    assert f"not installed; in the clone of sievit: pip install -e '.[{extra}]'" in line


def test_a_missing_package_around_a_module_counts_as_missing():
    assert not options.installed("no_such_package.inside")


IMAGES = {
    "wrong size": (np.zeros((3, 20, 20), np.uint8), None, "cannot bring images of 20 x 20 to 12"),
    "channels": (np.zeros((3, 3, 12, 12), np.uint8), None, "images of 1 x 12 x 12 .* not 3 x 12"),
    "none": (np.zeros((0, 12, 12), np.uint8), None, "holds no images"),
    "floats": (np.zeros((3, 12, 12), np.float32), None, "images must be uint8"),
    "labels": (
        np.zeros((3, 12, 12), np.uint8),
        np.zeros(2, np.uint8),
        r"3 images but labels \[2\]",
    ),
}


@pytest.mark.parametrize(("images", "labels", "message"), IMAGES.values(), ids=IMAGES)
def test_images(sievit, tmp_path, images, labels, message):
    path = images_file(tmp_path / "images.safetensors", images, labels)
    for verb in ("run", "simulate"):
        line = sievit(verb, "--model", "micro", "--dataset", path).refused()
        assert re.search(message, line), line


def test_bundled_images_do_not_suit_every_model(sievit, tmp_path):
    path = tmp_path / "odd.safetensors"
    model_file.save(random_model(ODD, outliers=False), path)
    line = sievit("run", "--model", path).refused()
    assert "cannot bring images of 28 x 28 to 15 x 15" in line


def test_model_too_large_for_the_preset(sievit, tmp_path):
    path = tmp_path / "large.safetensors"
    model_file.save(random_model(replace(SMALL, patch_size=1, depth=1), outliers=False), path)
    for verb in ("compile", "simulate"):
        line = sievit(verb, "--model", path, "--preset", "tiny").refused()
        assert "needs 145" in line
        assert "preset 'tiny' has 128" in line
        assert line.endswith(")")  # the knob


def test_image_compiled_for_another_config(sievit, tmp_path):
    path = tmp_path / "micro.image"
    ended = sievit("compile", "--model", "micro", "--preset", "ulx3s", "--out", path)
    assert ended.status == 0
    line = sievit("simulate", "--model", "micro", "--preset", "tiny", "--image", path).refused()
    assert "compiled for config 'ulx3s'" in line
    assert "this machine is 'tiny'" in line


def test_image_of_another_model(sievit, tmp_path):
    path = tmp_path / "other.image"
    model = random_model(SMALL, outliers=False)
    image_format.save(compile(model, preset("tiny")), path)
    line = sievit("simulate", "--model", "micro", "--image", path).refused()
    assert "compiled from another model than 'micro'" in line


def test_damaged_image(sievit, tmp_path):
    path = tmp_path / "micro.image"
    image_format.save(compile(model_file.load(MICRO), preset("tiny")), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    line = sievit("simulate", "--model", "micro", "--image", path).refused()
    assert "digest mismatch" in line
    path.write_bytes(content[: len(content) // 2])
    line = sievit("simulate", "--model", "micro", "--image", path).refused()
    assert "not a readable safetensors" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("{", "not JSON"),
        ("[]", "not a report of `synth --json`"),
        ('{"preset": "tiny", "target": "gates", "wall_s": 1}', "for --target gates, not xcup"),
    ],
)
def test_a_report_to_compare_with(sievit, tmp_path, content, message):
    path = tmp_path / "before.json"
    if content is not None:
        path.write_text(content)
    refused = sievit("synth", "-p", "tiny", "--target", "xcup", "--compare", path).refused()
    assert message in refused
