"""What cannot be imported: refused by layer, in a table, before any value is read."""

import numpy as np
import pytest

from quantize import QuantizeError
from quantize.architectures import ARCHITECTURES
from quantize.importers import ImportRefusedError
from quantize.importers.read import import_tensors
from quantize.importers.settings import Settings
from tests.quantize.foreign import DTYPES, KNOWN, imported, timm_state, zeros

REFUSED = {
    "one_head": ({"dist_token": zeros(1, 1, 24)}, "head_dist", "missing; distillation has two"),
    "two_heads": (
        {"head_dist.weight": zeros(7, 24)},
        "dist_token",
        "missing; distillation has two tokens",
    ),
    "distilled_head": (
        {"dist_token": zeros(1, 1, 24), "head_dist.weight": zeros(6, 24)},
        "pos_embed",
        "neither a square of patches nor that and cls_token and dist_token",
    ),
    "other_head": (
        {
            "dist_token": zeros(1, 1, 24),
            "head_dist.weight": zeros(6, 24),
            "pos_embed": zeros(1, 11, 24),
        },
        "head_dist.weight",
        r"has shape \[6, 24\], the model's other tensors want \[7, 24\]",
    ),
    "only_a_bias": ({"head.weight": None}, "head.weight", "missing"),
    "norm_of_mean": (
        {"fc_norm.weight": zeros(24)},
        "fc_norm",
        "a LayerNorm behind the patch mean",
    ),
    "registers": ({"reg_token": zeros(1, 4, 24)}, "reg_token", "register tokens"),
    "qk_norm": (
        {"blocks.1.attn.q_norm.weight": zeros(8)},
        "blocks.1.attn.q_norm",
        "qk-norm",
    ),
    "swiglu": ({"blocks.0.mlp.w12.weight": zeros(80, 24)}, "blocks.0.mlp.w12", "SwiGLU"),
    "gated": (
        {f"blocks.{n}.mlp.fc1.weight": zeros(80, 24) for n in range(2)},
        "blocks.0.mlp",
        "gated MLP",
    ),
    "relative": (
        {"blocks.0.attn.relative_position_bias_table": zeros(9, 3)},
        "blocks.0.attn.relative_position_bias_table",
        "relative position bias",
    ),
    "stem": ({"patch_embed.backbone.conv.weight": zeros(3)}, "patch_embed.backbone.conv", "stem"),
    "pre_norm": ({"norm_pre.weight": zeros(24)}, "norm_pre", "LayerNorm on the embedding"),
    "unknown": ({"blocks.0.adapter.weight": zeros(3)}, "blocks.0.adapter", "not known among"),
    "integers": ({"norm.bias": np.zeros(24, np.int8)}, "norm", "is I8; must be F16"),
    "depths": (
        {"blocks.3.norm1.weight": zeros(24)},
        "blocks.2",
        "missing, though there is a block 3",
    ),
    "shape": (
        {"blocks.1.mlp.fc2.weight": zeros(24, 39)},
        "blocks.1.mlp.fc2.weight",
        r"has shape \[24, 39\], the model's other tensors want \[24, 40\]",
    ),
    "no_cls": ({"cls_token": None}, "pooling", "no class token, and not in the tensors"),
    "no_norm": ({"norm.weight": None}, "norm.weight", "missing"),
    "beside_the_mean": ({"head.weight": zeros(7, 48)}, "head", "CLS beside the patch mean"),
    "positions": ({"pos_embed": zeros(1, 13, 24)}, "pos_embed", "neither a square"),
    "no_first_block": (
        {name: None for name in timm_state() if name.startswith("blocks.0.")},
        "blocks.0",
        "missing, though there is a block 1",
    ),
    "no_blocks": (
        {name: None for name in timm_state() if name.startswith("blocks.")},
        "blocks",
        "missing: there is no encoder block",
    ),
    "flat_head": ({"head.weight": zeros(7)}, "head.weight", r"shape \[7\], must have 2 dim"),
    "flat_patches": ({"patch_embed.proj.weight": zeros(24, 48)}, "patch_embed.proj.weight", "4 d"),
    "scalar": (
        {"blocks.0.mlp.fc1.weight": zeros()},
        "blocks.0.mlp.fc1.weight",
        r"shape \[\], must have 2 dimensions",
    ),
    "flat_positions": ({"pos_embed": zeros(24)}, "pos_embed", "must have 2 or 3 dimensions"),
    "wide_positions": ({"pos_embed": zeros(1, 10, 25)}, "pos_embed", "the model has 24 channels"),
    "short_token": ({"cls_token": zeros(0)}, "cls_token", "the model has 24 channels"),
    "mixed_mlps": (
        {
            "blocks.1.mlp.fc1.weight": zeros(64, 24),
            "blocks.1.mlp.fc1.bias": zeros(64),
            "blocks.1.mlp.fc2.weight": zeros(24, 64),
        },
        "blocks.1.mlp.fc1.weight",
        r"has shape \[64, 24\], the model's other tensors want \[40, 24\]",
    ),
    "another_library": (
        {"vit.encoder.layer.0.layernorm_before.weight": zeros(24)},
        "vit.encoder.layer.0.layernorm_before",
        "not known among timm's names",
    ),
    "oblong": ({"patch_embed.proj.weight": zeros(24, 3, 4, 2)}, "patch_embed.proj", "square"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_machine_cannot_do_is_refused_by_layer(case):
    changes, layer, why = REFUSED[case]
    state = {k: v for k, v in {**timm_state(), **changes}.items() if v is not None}
    header = {name: (DTYPES[value.dtype.name], value.shape) for name, value in state.items()}
    with pytest.raises(ImportRefusedError, match=rf"^model: .*unsupported: .*{why}") as caught:
        import_tensors(header, lambda name: pytest.fail("read too early"), KNOWN, "model")
    assert layer in {row.layer for row in caught.value.table.unsupported}
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": None}, "heads: unsupported: not in the tensors"),
        ({"heads": 5}, "heads: unsupported: 5 do not divide the 24 channels"),
        ({"mean": None}, "mean and std: unsupported: not in the tensors"),
        ({"pooling": "map"}, "pooling: unsupported: 'map': the head reads CLS rows or the mean"),
        ({"pooling": "distilled"}, "dist_token: unsupported: missing; distillation has two"),
        (
            {"architecture": ARCHITECTURES["deit_tiny_distilled_patch16_224"]},
            r"embed_dim: unsupported: 24, the named model has 192 \(and 3 more\)",
        ),
        ({"activation": "quick_gelu"}, "activation 'quick_gelu': must be gelu or relu"),
        ({"kind": "swinv2"}, "'swinv2' is not a plain pre-norm ViT"),
        ({"std": None}, "mean and std: unsupported: not in the tensors"),
        ({"mean": 0.5}, "mean: unsupported: must be 3 numbers, one a channel, not 0.5"),
        ({"mean": (0.5, float("nan"), 0.5)}, "mean: unsupported: must be 3 numbers"),
        ({"std": (0.5,)}, r"std: unsupported: must be 3 positive numbers.*not \[0.5\]"),
        ({"std": (0.5, 0, 0.5)}, "std: unsupported: must be 3 positive numbers"),
        ({"norm_epsilon": "small"}, "norm: unsupported: epsilon must be a number"),
        ({"norm_epsilon": 0}, "norm: unsupported: epsilon must be a number"),
        ({"pooling": ["avg"]}, "the head reads CLS rows or the mean"),
        ({"image_size": [12, 24]}, "image_size must be an integer"),
        ({"image_size": 13}, "patch_size must divide image_size"),
        (
            {"architecture": ARCHITECTURES["deit_tiny_patch16_224"]},
            "embed_dim: unsupported: 24, the named model has 192",
        ),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ImportRefusedError, match=message):
        imported(timm_state(), Settings(**{**vars(KNOWN), **settings}))


def test_wrong_dtypes_are_named_once():
    state = timm_state()
    state["blocks.0.mlp.fc1.weight"] = state["blocks.0.mlp.fc1.weight"].astype(np.int8)
    with pytest.raises(ImportRefusedError) as caught:
        imported(state)
    assert [(row.layer, row.why) for row in caught.value.table.unsupported] == [
        ("blocks.0.mlp.fc1", "is I8; must be F16, F32, F64")
    ]


def test_other_architectures_get_a_table_too():
    names = ("conv1.weight", "layer1.0.conv1.weight", "layer1.1.conv1.weight", "fc.weight")
    with pytest.raises(ImportRefusedError, match=r"no vision transformer's name in timm, ") as e:
        imported({name: zeros(3, 3) for name in names})
    assert [row.layer for row in e.value.table.brief()] == ["conv1", "fc", "layer1.0..1.conv1"]
    with pytest.raises(QuantizeError, match="holds no tensor"):
        imported({})
