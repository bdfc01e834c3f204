"""Foreign models: names and folds; the float forward against torch's own attention."""

import dataclasses
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from quantize import QuantizeError, float_forward
from quantize.architectures import ARCHITECTURES, random_weights
from quantize.importers import ImportRefusedError, Verdict, import_file
from quantize.importers.read import import_live
from quantize.importers.settings import Settings, settings_of
from quantize.importers.shape import position_grid
from spec.model_file import write_tensors
from tests.quantize.foreign import (
    CONFIG,
    KNOWN,
    hugging_face_state,
    imported,
    timm_state,
    torchvision_state,
    zeros,
)
from tests.random_models import random_images

MEANS = ("avg", "mean")
DISTILLED = dataclasses.replace(CONFIG, distillation_token=True, pooling="distilled")
NO_CLASS_TOKEN = dataclasses.replace(CONFIG, class_token=False, pooling="mean")


def torch_logits(state, images, settings=KNOWN):
    """timm's forward, written again with torch's fused attention, convolution and LayerNorm."""
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    t = {name: torch.tensor(value) for name, value in state.items()}
    mean, std = (torch.tensor(v)[:, None, None] for v in (settings.mean, settings.std))

    def norm(name, x):
        return functional.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], 1e-6)

    def linear(name, x):
        return functional.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))

    size = t["patch_embed.proj.weight"].shape[-1]
    pixels = (torch.tensor(images).float() / 255 - mean) / std
    x = functional.conv2d(
        pixels, t["patch_embed.proj.weight"], t["patch_embed.proj.bias"], stride=size
    )
    x = x.flatten(2).transpose(1, 2)
    prefix = [t[name].expand(len(x), -1, -1) for name in ("cls_token", "dist_token") if name in t]
    if t["pos_embed"].shape[1] == x.shape[1]:
        x = torch.cat([*prefix, x + t["pos_embed"]], 1)
    else:
        x = torch.cat([*prefix, x], 1) + t["pos_embed"]
    n, tokens, dim = x.shape
    for block in range(CONFIG.depth):
        name = f"blocks.{block}"
        qkv = linear(f"{name}.attn.qkv", norm(f"{name}.norm1", x))
        q, k, v = qkv.reshape(n, tokens, 3, settings.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        branch = linear(f"{name}.attn.proj", mixed.transpose(1, 2).reshape(n, tokens, dim))
        x = x + branch * t.get(f"{name}.ls1.gamma", torch.ones(1))
        hidden = functional.gelu(linear(f"{name}.mlp.fc1", norm(f"{name}.norm2", x)))
        branch = linear(f"{name}.mlp.fc2", hidden)
        x = x + branch * t.get(f"{name}.ls2.gamma", torch.ones(1))
    final = norm("norm", x)
    if "head_dist.weight" in t:
        return ((linear("head", final[:, 0]) + linear("head_dist", final[:, 1])) / 2).numpy()
    pooled = final[:, len(prefix) :].mean(1) if settings.pooling in MEANS else final[:, 0]
    return (linear("head", pooled) if "head.weight" in t else pooled).numpy()


PARAMETERS = ("weight", "bias")


def without(state, *endings):
    return {name: value for name, value in state.items() if not name.endswith(endings)}


VARIANTS = {
    "plain": lambda: timm_state(),
    "layer_scale": lambda: timm_state(layer_scale=True),
    "no_qkv_bias": lambda: without(timm_state(), "qkv.bias"),
    "no_head": lambda: without(timm_state(), "head.weight", "head.bias"),
    "no_cls_position": lambda: {**(s := timm_state()), "pos_embed": s["pos_embed"][:, 1:]},
    "distilled": lambda: timm_state(DISTILLED),
    "distilled_no_position": lambda: {
        **(s := timm_state(DISTILLED)),
        "pos_embed": s["pos_embed"][:, 2:],
    },
    "distilled_one_bias": lambda: without(timm_state(DISTILLED), "head_dist.bias"),
    "mean_beside_cls": lambda: timm_state(),
    "mean_as_in_gap_models": lambda: without(timm_state(NO_CLASS_TOKEN, True), "qkv.bias"),
    "mean_no_head": lambda: without(timm_state(NO_CLASS_TOKEN), "head.weight", "head.bias"),
}
"""Kinds of models in timm's names: `deit_*_distilled_*` (and with `no_embed_class`), `global_pool`
`avg` with `fc_norm` False, and `vit_medium_patch16_gap_240`, without class token and QKV bias."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_float_forward_is_timms(variant):
    """At most 1e-5 of the largest logit apart; measured: 2e-6."""
    state, images = VARIANTS[variant](), random_images(CONFIG, 5)
    settings = dataclasses.replace(KNOWN, pooling="avg" if "mean" in variant else None)
    true = torch_logits(state, images, settings)
    got = float_forward(imported(state, settings).model, images)
    assert np.abs(got - true).max() < 1e-5 * max(np.abs(true).max(), 1)


@pytest.mark.parametrize("rename", [torchvision_state, hugging_face_state])
def test_other_names_give_the_same_model(rename):
    state = timm_state()
    got, true = imported(rename(state)), imported(state)
    assert got.dialect != true.dialect
    assert got.model.config == true.model.config == CONFIG
    for name, value in true.model.parameters.items():
        assert (got.model[name] == value).all(), name
    assert {row.verdict for row in got.table.rows} == {Verdict.SUPPORTED}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vit_small_patch14_dinov2", 56),
        ("deit_tiny_patch16_224", 64),
        ("deit_tiny_distilled_patch16_224", 64),
        ("vit_medium_patch16_gap_240", 64),
    ],
)
def test_real_timm_gives_the_same_logits(name, size):
    timm = pytest.importorskip("timm", reason="timm or its torchvision is not installed")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = timm.create_model(name, img_size=size, depth=2).eval()
    model.load_state_dict(
        {
            k: torch.rand_like(v) if "gamma" in k else v + 0.1 * torch.randn_like(v)
            for k, v in model.state_dict().items()
        }
    )
    got = import_live(model)
    described = dataclasses.replace(ARCHITECTURES[name], image_size=size, depth=2)
    assert got.model.config == described.config
    assert got.model.norm_epsilon == settings_of(described).norm_epsilon
    assert (got.model.mean, got.model.std) == described.normalisation
    images = random_images(got.model.config, 2)
    mean, std = (torch.tensor(v)[:, None, None] for v in (got.model.mean, got.model.std))
    with torch.no_grad():
        true = model((torch.tensor(images).float() / 255 - mean) / std).numpy()
    assert np.abs(float_forward(got.model, images) - true).max() < 1e-5 * np.abs(true).max()


class Block(SimpleNamespace):
    """As timm's class is called."""


class GELU(SimpleNamespace):
    pass


class GELUTanh(SimpleNamespace):
    pass


class ResPostBlock(SimpleNamespace):
    pass


def live(state, block=Block, act=GELU, **changes):
    """What `import_live` looks at of a timm model."""
    torch = pytest.importorskip("torch")
    fields = {
        "state_dict": lambda: {name: torch.tensor(value) for name, value in state.items()},
        "blocks": [block(attn=SimpleNamespace(num_heads=3), mlp=SimpleNamespace(act=act()))],
        "patch_embed": SimpleNamespace(img_size=(12, 12)),
        "norm": SimpleNamespace(eps=1e-6),
        "global_pool": "token",
        "pretrained_cfg": {"mean": KNOWN.mean, "std": KNOWN.std},
    }
    return SimpleNamespace(**{**fields, **changes})


def test_live_models():
    state = timm_state(layer_scale=True)
    got, true = import_live(live(state)).model, imported(state).model
    assert got.config == true.config
    assert all((got[name] == value).all() for name, value in true.parameters.items())
    for changes, why in (
        ({"act": GELUTanh}, "activation 'gelutanh'"),
        ({"block": ResPostBlock}, "'ResPostBlock' is not a plain pre-norm"),
        ({"global_pool": "max"}, "'max': the head reads CLS rows or the mean"),
        (
            {"global_pool": "avg", "pool_include_prefix": True},
            "'avg of all tokens': the head reads CLS rows or the mean",
        ),
    ):
        with pytest.raises(ImportRefusedError, match=why):
            import_live(live(state, **changes))


def test_a_word_before_all_names_is_taken_off():
    state = timm_state()
    got = imported({f"module.{name}": value for name, value in state.items()}).model
    assert all(
        (got[name] == value).all() for name, value in imported(state).model.parameters.items()
    )
    with pytest.raises(ImportRefusedError, match="no vision transformer's name"):
        imported({f"module.{name}": value for name, value in state.items()} | {"x.y": zeros(1)})


def test_hugging_faces_distillation():
    """With a teacher's head two heads; without (`DeiTForImageClassification`) CLS alone is read."""
    state = timm_state(DISTILLED)
    true = imported(state).model
    single = hugging_face_state(state)
    got = imported({re.sub("^classifier", "cls_classifier", k): v for k, v in single.items()})
    assert got.dialect == "Hugging Face"
    assert got.model.config == true.config == DISTILLED
    assert all((got.model[name] == value).all() for name, value in true.parameters.items())
    folded = {row.layer for row in got.table.rows if row.verdict is Verdict.FOLDED}
    assert "head, head_dist" in folded
    alone = imported(without(single, *(f"distillation_classifier.{k}" for k in PARAMETERS)))
    assert alone.model.config == dataclasses.replace(DISTILLED, pooling="token")
    assert (alone.model["dist_token"] == true["dist_token"]).all()


def test_i_jepa_reads_the_mean(tmp_path):
    state = {
        name.replace("vit.", "ijepa.", 1): value
        for name, value in hugging_face_state(timm_state(NO_CLASS_TOKEN)).items()
    }
    path = tmp_path / "model.safetensors"
    write_tensors(path, state, {})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "ijepa"}))
    known = dataclasses.replace(KNOWN, norm_epsilon=None)
    assert import_file(path, known).model.config == NO_CLASS_TOKEN


def test_post_norm_by_hugging_faces_names():
    state = hugging_face_state(timm_state())
    with pytest.raises(ImportRefusedError, match="post-norm"):
        imported({**state, "vit.encoder.layer.0.output.LayerNorm.weight": zeros(24)})
    spared = imported({**state, "vit.pooler.dense.weight": zeros(24, 24)})
    assert [row.layer for row in spared.table.rows if row.verdict is Verdict.DROPPED] == [
        "vit.pooler.dense"
    ]


def test_position_embeddings_are_resampled_as_torch_does():
    torch = pytest.importorskip("torch")
    state = timm_state()
    got = imported(state, Settings(**{**vars(KNOWN), "image_size": 20})).model
    grid = torch.tensor(state["pos_embed"][0, 1:]).reshape(1, 3, 3, 24).permute(0, 3, 1, 2)
    for size in (5, 2):
        got = imported(state, Settings(**{**vars(KNOWN), "image_size": 4 * size})).model
        true = torch.nn.functional.interpolate(
            grid, size=(size, size), mode="bicubic", antialias=True
        )
        true = true.permute(0, 2, 3, 1).reshape(-1, 24).numpy()
        assert got["pos_embed"][0, 1:] == pytest.approx(true, abs=1e-5)
        assert (got["pos_embed"][0, 0] == state["pos_embed"][0, 0]).all()


def test_files_and_their_neighbours(tmp_path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, hugging_face_state(timm_state()), {})
    with pytest.raises(ImportRefusedError, match=r"heads: unsupported.*\(and 1 more\)"):
        import_file(path)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "vit", "num_attention_heads": 3, "layer_norm_eps": 1e-12})
    )
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    got = import_file(path)
    assert (got.model.config.heads, got.model.norm_epsilon) == (3, 1e-12)
    assert got.dialect == "Hugging Face"
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "vit", "num_attention_heads": 3, "image_size": [12, 12]})
    )
    assert import_file(path).model.config == CONFIG
    for content, why in (
        ({"architecture": "vit", "pretrained_cfg": "deit"}, "pretrained_cfg and model_args must"),
        ({"architecture": "vit", "model_args": [1]}, "pretrained_cfg and model_args must"),
        ({"num_attention_heads": "three"}, "must be a positive integer, not 'three'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(QuantizeError, match=why):
            import_file(path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(QuantizeError, match="not readable JSON"):
        import_file(path)
    with pytest.raises(QuantizeError, match="no such file"):
        import_file(tmp_path / "none.safetensors")
    pickle = tmp_path / "model.pth"
    pickle.write_bytes(b"\x80")
    with pytest.raises(QuantizeError, match="pickles are not read"):
        import_file(pickle)
    (tmp_path / "config.json").unlink()
    pickle.rename(path)
    with pytest.raises(QuantizeError, match="not a readable safetensors file"):
        import_file(path)


def test_timms_own_config_is_understood(tmp_path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"patch_embed.x": zeros(1)}, {})
    content = {
        "architecture": "deit_tiny_patch16_224",
        "global_pool": "token",
        "pretrained_cfg": {"input_size": [3, 224, 224], "mean": [0.1] * 3, "std": [0.2] * 3},
    }
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ImportRefusedError) as caught:
        import_file(path)
    assert {"heads", "mean and std"}.isdisjoint(row.layer for row in caught.value.table.rows)


def test_the_table_merges_blocks():
    rows = imported(timm_state(layer_scale=True)).table.brief()
    text = {row.layer: row for row in rows}
    assert text["blocks.0..1.ls1"].verdict is Verdict.FOLDED
    assert text["blocks.0..1.ls1"].why == "LayerScale: into weight and bias of attn.proj"
    assert text["blocks.0..1.norm2"].verdict is Verdict.SUPPORTED


def test_position_grids():
    assert position_grid(197) == (14, 1)
    assert position_grid(196) == (14, 0)
    assert position_grid(198) is None
    assert position_grid(198, 2) == (14, 2)
    assert position_grid(196, 2) == (14, 0)
    assert position_grid(197, 2) is None
    assert position_grid(225, 0) == (15, 0)
    assert position_grid(1) == (1, 0)
    assert position_grid(0, 0) is None
    assert position_grid(257) == (16, 1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_named_architectures_have_shapes(name):
    config = ARCHITECTURES[name].config
    assert config.embed_dim == 64 * config.heads
    prefix = 0 if "gap" in name else 2 if "distilled" in name else 1
    side = {14: 16, 16: 14, 32: 7}[config.patch_size]
    side = {240: 15, 256: 16}.get(config.image_size, side)
    assert config.tokens == side * side + prefix


def test_random_weights_are_timms_by_statistics():
    model = random_weights("deit_tiny_patch16_224", 1, 32)
    assert model.config.tokens == 5
    assert model["blocks.3.mlp.fc1.weight"].std() == pytest.approx(0.02, rel=0.01)
    assert model["patch_embed.proj.weight"].std() == pytest.approx(3**-0.5 / 768**0.5, rel=0.01)
    assert (model["blocks.0.attn.qkv.bias"] == 0).all()
    assert (model["norm.weight"] == 1).all()
    again = random_weights("deit_tiny_patch16_224", 1, 48)
    assert (again["head.weight"] == model["head.weight"]).all()
    assert (
        random_weights("deit_tiny_patch16_224", 2, 32)["head.weight"] != model["head.weight"]
    ).any()
    with pytest.raises(QuantizeError, match="no architecture 'swin'; the nearest are vit_"):
        random_weights("swin")
