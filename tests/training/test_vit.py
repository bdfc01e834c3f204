"""The float model: names and shapes of timm's, and its arithmetic against torch's own layers."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from torch.nn import functional  # noqa: E402

from training.errors import TrainingError  # noqa: E402
from training.recipe import RECIPES  # noqa: E402
from training.vit import Vit, VitConfig  # noqa: E402

SMALL = {"image_size": 12, "patch_size": 4, "embed_dim": 16, "depth": 1, "heads": 2}
SMALL |= {"mlp_dim": 32, "classes": 10}


def timm_shapes(tokens, dim, depth, mlp_dim, patch_size, classes):
    """Names and shapes of timm's `VisionTransformer` with those dimensions."""
    shapes = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, tokens, dim),
        "patch_embed.proj.weight": (dim, 1, patch_size, patch_size),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
        "head.weight": (classes, dim),
        "head.bias": (classes,),
    }
    linears = {
        "attn.qkv": (3 * dim, dim),
        "attn.proj": (dim, dim),
        "mlp.fc1": (mlp_dim, dim),
        "mlp.fc2": (dim, mlp_dim),
    }
    for i in range(depth):
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{i}.{norm}.weight": (dim,), f"blocks.{i}.{norm}.bias": (dim,)}
        for name, shape in linears.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    return shapes


@pytest.mark.parametrize(
    ("name", "expected"),
    [("demo", timm_shapes(50, 64, 4, 128, 4, 10)), ("micro", timm_shapes(10, 16, 2, 32, 4, 10))],
)
def test_names_and_shapes_are_those_of_timm(name, expected):
    state = Vit(RECIPES[name].model).state_dict()
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == expected


def test_patch_embedding_is_the_convolution():
    torch.manual_seed(0)
    patch_embed = Vit(VitConfig(**SMALL, channels=3)).patch_embed
    images = torch.randn(2, 3, 12, 12)
    expected = patch_embed.proj(images).flatten(2).transpose(1, 2)
    torch.testing.assert_close(patch_embed(images), expected)


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    attn = Vit(VitConfig(**SMALL)).blocks[0].attn
    x = torch.randn(2, 10, 16)
    q, k, v = attn.qkv(x).view(2, 10, 3, 2, 8).permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 10, 16)
    torch.testing.assert_close(attn(x)[0], attn.proj(mixed))


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_activation(activation):
    torch.manual_seed(0)
    mlp = Vit(VitConfig(**SMALL, activation=activation)).blocks[0].mlp
    x = 10 * torch.randn(2, 10, 16)
    expected = mlp.fc2(getattr(functional, activation)(mlp.fc1(x)))
    torch.testing.assert_close(mlp(x), expected)


def test_dropped_branches_leave_the_input():
    torch.manual_seed(0)
    block = Vit(VitConfig(**SMALL)).blocks[0]
    x, none = torch.randn(2, 10, 16), torch.zeros(2, 1, 1)
    assert block(x, none, none)[0].equal(x)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"depth": 0}, "depth must be at least 1, not 0"),
        ({"activation": "silu"}, "activation must be gelu or relu, not 'silu'"),
        ({"image_size": 14}, "image_size must be a multiple of patch_size 4, not 14"),
        ({"heads": 3}, "embed_dim must be a multiple of heads 3, not 16"),
    ],
)
def test_impossible_shapes_are_refused(change, text):
    with pytest.raises(TrainingError, match=text):
        VitConfig(**{**SMALL, **change})
