"""Model files: what is written is read, and everything else gets one clear line."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from spec.model_file import (
    Model,
    ModelConfig,
    ModelFileError,
    load,
    save,
    tensor_table,
    write_tensors,
)

CONFIG = ModelConfig(
    image_size=8,
    patch_size=4,
    channels=1,
    embed_dim=6,
    depth=1,
    heads=2,
    head_dim=3,
    mlp_dim=5,
    classes=3,
    activation="gelu",
)


def model_of(config: ModelConfig = CONFIG) -> Model:
    rng = np.random.default_rng(0)
    tensors = {}
    for name, (dtype, shape) in tensor_table(config).items():
        values = rng.integers(0, 31, shape)
        tensors[name] = values.astype(dtype)
    return Model(config=config, tensors=tensors, scales={"residual": 0.5}, provenance={"seed": 1})


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.safetensors"
    save(model_of(), file)
    return file


def rewritten(path, tensors=None, **metadata):
    """Write the model again with some tensors or metadata replaced (None removes them)."""
    model = model_of()
    all_metadata = {
        "format": "sievit-model",
        "version": "1",
        "config": json.dumps(vars(CONFIG)),
        **metadata,
    }
    all_tensors = {**model.tensors, **(tensors or {})}
    write_tensors(
        path,
        {k: v for k, v in all_tensors.items() if v is not None},
        {k: v for k, v in all_metadata.items() if v is not None},
    )
    return path


def test_what_is_saved_is_loaded(path):
    model, got = model_of(), load(path)
    assert got.config == model.config
    assert got.scales == model.scales
    assert got.provenance == model.provenance
    assert got.tensors.keys() == model.tensors.keys()
    for name, value in model.tensors.items():
        assert got[name].dtype == value.dtype
        assert (got[name] == value).all()


def test_equal_models_are_equal_files_and_nothing_is_left_behind(path, tmp_path):
    save(model_of(), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["again.safetensors", "model.safetensors"]


def test_config_counts():
    assert (CONFIG.patches, CONFIG.tokens, CONFIG.patch_dim, CONFIG.attention_dim) == (4, 5, 16, 6)


def test_tokens_before_the_patches():
    distilled = replace(CONFIG, distillation_token=True, pooling="distilled")
    mean = replace(CONFIG, pooling="mean")
    bare = replace(CONFIG, class_token=False, pooling="mean")
    configs = (CONFIG, distilled, mean, bare)
    assert [c.prefix_tokens for c in configs] == [1, 2, 1, 0]
    assert [c.tokens for c in configs] == [5, 6, 5, 4]
    assert [c.head_rows for c in configs] == [range(1), range(2), range(1, 5), range(4)]
    assert [c.head_depth for c in configs] == [6, 12, 6, 6]
    for config in configs:
        table = tensor_table(config)
        assert table["head.weight"] == ("int8", (config.head_depth, 3))
        assert ("pool.mult" in table) == (config.pooling == "mean")
        assert ("float.cls_token" in table) == config.class_token
        assert ("float.head_dist.weight" in table) == (config is distilled)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "max"}, "pooling must be token, distilled or mean, not 'max'"),
        ({"class_token": 1}, "class_token must be true or false, not 1"),
        ({"class_token": False}, "class_token must be true with pooling 'token'"),
        (
            {"class_token": False, "distillation_token": True, "pooling": "mean"},
            "class_token must be true with pooling 'mean' and a distillation_token",
        ),
        ({"pooling": "distilled"}, "distillation_token must be true with pooling 'distilled'"),
    ],
)
def test_tokens_that_do_not_fit(changes, message):
    with pytest.raises(ModelFileError, match=message):
        replace(CONFIG, **changes)


def test_files_without_the_newer_keys_have_a_cls_token(path):
    old = {key: value for key, value in vars(CONFIG).items() if not isinstance(value, bool)}
    del old["pooling"]
    assert load(rewritten(path, config=json.dumps(old))).config == CONFIG


def test_the_mean_has_a_scale_of_its_own(tmp_path):
    config = replace(CONFIG, class_token=False, pooling="mean")
    model = model_of(config)
    save(model, tmp_path / "mean.safetensors")
    assert load(tmp_path / "mean.safetensors").config == config
    model.tensors["pool.shift"][0] = 32
    with pytest.raises(ModelFileError, match=r"pool\.shift: must be at most 31, not 32"):
        save(model, tmp_path / "mean.safetensors")


def test_other_libraries_read_the_file(path):
    got = load_file(path)
    assert (got["head.weight"] == model_of()["head.weight"]).all()


def test_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match=r"none\.safetensors: no such file"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="no such file"):
        load(tmp_path)


@pytest.mark.parametrize("size", [0, 7, 8, 9, 200, -1])
def test_truncated(path, size):
    content = path.read_bytes()
    path.write_bytes(content[:size])
    with pytest.raises(ModelFileError, match="not a readable safetensors file") as caught:
        load(path)
    assert "\n" not in str(caught.value)


HOSTILE = {
    "random bytes": np.random.default_rng(1).bytes(500),
    "enormous header": (2**63).to_bytes(8, "little") + b"{}",
    "pickle": b"\x80\x04\x95" + bytes(100),
    "deep json": (40000).to_bytes(8, "little") + b"[" * 40000,
}
for title, entry in {
    "offsets outside": {"dtype": "I8", "shape": [4], "data_offsets": [0, 400]},
    "offsets reversed": {"dtype": "I8", "shape": [4], "data_offsets": [4, 0]},
    "shape overflow": {"dtype": "I8", "shape": [2**62, 2**62], "data_offsets": [0, 4]},
    "negative shape": {"dtype": "I8", "shape": [-4], "data_offsets": [0, 4]},
    "unknown dtype": {"dtype": "I7", "shape": [4], "data_offsets": [0, 4]},
}.items():
    _text = json.dumps({"head.bias": entry}).encode()
    HOSTILE[title] = len(_text).to_bytes(8, "little") + _text + bytes(4)


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(path, content):
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a readable safetensors file") as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": None}, r"metadata 'format' must be 'sievit-model', not None"),
        ({"format": "pt"}, r"metadata 'format' must be 'sievit-model', not 'pt'"),
        ({"version": "2"}, r"this release reads version '1' of 'sievit-model', not '2'"),
        ({"config": None}, r"metadata 'config' must be a JSON object"),
        ({"config": "[" * 100000}, r"metadata 'config' must be a JSON object"),
        ({"scales": "3"}, r"metadata 'scales' must be a JSON object"),
    ],
)
def test_metadata(path, metadata, message):
    with pytest.raises(ModelFileError, match=message):
        load(rewritten(path, **metadata))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 10**9}, "config: depth must be an integer in 1..256, not 1000000000"),
        ({"heads": 0}, "config: heads must be an integer in 1..65536, not 0"),
        ({"heads": 2.0}, "config: heads must be an integer in 1..65536, not 2.0"),
        ({"channels": True}, "config: channels must be an integer in 1..64, not True"),
        ({"activation": "tanh"}, "config: activation must be gelu or relu, not 'tanh'"),
        ({"patch_size": 3}, r"config: patch_size must divide image_size \(8\), not 3"),
        ({"dropout": 1}, "config: unknown key 'dropout'"),
        ({"embed_dim": 7}, r"patch_embed.weight: must be int8 \[16, 7\], not int8 \[16, 6\]"),
    ],
)
def test_config(path, change, message):
    with pytest.raises(ModelFileError, match=message):
        load(rewritten(path, config=json.dumps({**vars(CONFIG), **change})))


def test_head_dim_has_a_default():
    values = {k: v for k, v in vars(CONFIG).items() if k != "head_dim"}
    assert ModelConfig.from_json(json.dumps(values), "x") == CONFIG
    with pytest.raises(ModelFileError, match=r"x: config: heads must divide embed_dim \(6\)"):
        ModelConfig.from_json(json.dumps({**values, "heads": 4}), "x")
    del values["classes"]
    with pytest.raises(ModelFileError, match="x: config: missing key 'classes'"):
        ModelConfig.from_json(json.dumps(values), "x")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"head.bias": None}, "missing tensor head.bias"),
        ({"head.bias": None, "norm.gain": None}, "missing tensor head.bias and 1 more"),
        ({"extra": np.zeros(3, np.int8)}, "unknown tensor extra"),
        ({"head.bias": np.zeros(3, np.int16)}, r"head.bias: must be int32 \[3\], not int16 \[3\]"),
        ({"head.bias": np.zeros(0, np.int32)}, r"head.bias: must be int32 \[3\], not int32 \[0\]"),
        ({"head.shift": np.array([0, 49, 0], np.uint8)}, "head.shift: must be at most 48, not 49"),
        (
            {"blocks.0.attn.out_shift": np.array([0, 32], np.uint8)},
            "blocks.0.attn.out_shift: must be at most 31, not 32",
        ),
        (
            {"head.weight": np.full((6, 3), -128, np.int8)},
            "head.weight: must be at least -127, not -128",
        ),
        (
            {"float.norm.weight": np.full(6, np.nan, np.float16)},
            "float.norm.weight: holds values that are not finite",
        ),
    ],
)
def test_tensors(path, tensors, message):
    with pytest.raises(ModelFileError, match=rf"model\.safetensors: {message}"):
        load(rewritten(path, tensors))


def test_save_checks_too(tmp_path):
    model = model_of()
    broken = replace(model, tensors={**model.tensors, "head.bias": np.zeros(3)})
    with pytest.raises(ModelFileError, match=r"model: head\.bias: must be int32"):
        save(broken, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="cannot write"):
        save(model, tmp_path / "no" / "folder.safetensors")
    assert not os.listdir(tmp_path)
