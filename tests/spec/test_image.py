import dataclasses
import hashlib
import json

import numpy as np
import pytest
from safetensors import safe_open

from compiler import compile
from spec.image import FORMAT, VERSION, ImageError, load, save
from spec.model_file import read_tensors, write_tensors
from spec.presets import preset
from tests.shapes import model_of

TINY = preset("tiny")


@pytest.fixture(scope="module")
def image():
    return compile(model_of("two_tokens"), TINY)


@pytest.fixture
def path(image, tmp_path):
    save(image, tmp_path / "image.safetensors")
    return tmp_path / "image.safetensors"


def rewrite(path, metadata=None, tensors=None):
    """Change a saved image behind the library's back."""
    old_metadata, old_tensors = read_tensors(path)
    write_tensors(path, {**old_tensors, **(tensors or {})}, {**old_metadata, **(metadata or {})})


def edit(path, change):
    """Change the description, with a digest that is right again."""
    metadata, _ = read_tensors(path)
    description = json.loads(metadata["description"])
    change(description)
    text = json.dumps(description)
    rewrite(
        path,
        {"description": text, "description_sha256": hashlib.sha256(text.encode()).hexdigest()},
    )


def test_round_trip(image, path):
    back = load(path, TINY)
    for field in dataclasses.fields(image):
        a, b = getattr(image, field.name), getattr(back, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name


def test_same_bytes_and_no_rest(image, path, tmp_path):
    save(image, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", path.name]


def test_metadata(path, image):
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    assert (metadata["format"], metadata["version"]) == (FORMAT, VERSION)
    assert metadata["config_name"] == "tiny"
    assert int(metadata["config_digest"], 16) == TINY.digest()
    assert metadata["model_digest"] == image.model_digest


def test_other_config(path):
    with pytest.raises(ImageError, match=r"compiled for config 'tiny' .*this machine is 'ulx3s'"):
        load(path, preset("ulx3s"))


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"version": "1"}, f"metadata 'version' must be '{VERSION}', not '1'"),
        ({"format": "sievit-model"}, "metadata 'format' must be 'sievit-image'"),
        ({"program_sha256": "0"}, "digest mismatch: program is not what the compiler wrote"),
        ({"description": "{}"}, "digest mismatch: description"),
        ({"config_digest": "xyz"}, "malformed image metadata"),
    ],
)
def test_bad_metadata(path, metadata, text):
    rewrite(path, metadata)
    with pytest.raises(ImageError, match=text) as error:
        load(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(path))


def test_flipped_bit(path, image):
    weights = image.weights.copy()
    weights[100] ^= 1
    rewrite(path, tensors={"weights": weights})
    with pytest.raises(ImageError, match="digest mismatch: weights"):
        load(path)


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"program": np.zeros((2, 31), np.uint8)}, "program must be uint8"),
        ({"program": np.zeros((2, 32), np.int8)}, "program must be uint8"),
        ({"program": np.zeros((0, 32), np.uint8)}, "1..65536 instructions"),
        ({"weights": np.zeros((2, 2), np.uint8)}, "weights must be uint8"),
        ({"more": np.zeros(1, np.uint8)}, "must hold the tensors program and weights"),
    ],
)
def test_bad_tensors(path, tensors, text):
    rewrite(path, tensors=tensors)
    with pytest.raises(ImageError, match=text):
        load(path)


def set_part(field, value):
    def change(description):
        description["tensors"][0][3][0][field] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("tensors"),
        lambda d: d.update(tensors=7),
        lambda d: d["input"].update(row_bytes=-1),
        lambda d: d["input"].update(row_bytes=1),
        lambda d: d["result"].update(classes=1 << 20),
        lambda d: d.update(names=[]),
        lambda d: d["tensors"][0].__setitem__(1, [1 << 20, 1 << 20]),
        lambda d: d["tensors"][0].__setitem__(1, "xx"),
        lambda d: d["tensors"][0].__setitem__(2, "float64"),
        set_part(0, 1 << 17),
        set_part(1, "disk"),
        set_part(2, 0),
        set_part(5, -1),
        set_part(9, 1 << 19),
        lambda d: d["tensors"][0][3][0].pop(),
    ],
)
def test_hostile_description(path, change):
    edit(path, change)
    with pytest.raises(ImageError) as error:
        load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [0, 7, 8, 100, -1])
def test_truncated(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ImageError, match="not a readable safetensors file"):
        load(path)


def test_hostile_header(path):
    path.write_bytes((1 << 60).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(ImageError, match="not a readable safetensors file"):
        load(path)


def test_missing(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        load(tmp_path / "nothing")
    with pytest.raises(ImageError, match="cannot write"):
        save(compile(model_of("two_tokens"), TINY), tmp_path / "no" / "folder")


def test_input_and_result(image):
    patches = np.arange(-8, 8, dtype=np.int8).reshape(1, 16)
    window = image.pack_input(patches)
    assert len(window) == image.input_bytes == 16
    assert np.array_equal(np.frombuffer(window, np.int8), patches[0])
    logits = np.array([-5, 300], "<i2")
    assert np.array_equal(image.unpack_result(logits.tobytes() + bytes(12)), logits)
    with pytest.raises(ImageError, match=r"input must be int8 \[1, 16\], not int8 \[2, 8\]"):
        image.pack_input(patches.reshape(2, 8))
    with pytest.raises(ImageError, match="result window has 3 bytes, needs 16"):
        image.unpack_result(bytes(3))
