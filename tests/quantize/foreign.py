"""The same random weights under the names of three libraries, and with what folding removes."""

import numpy as np

from quantize.importers.read import import_tensors
from quantize.importers.settings import Settings
from spec.model_config import ModelConfig, float_shapes

CONFIG = ModelConfig(
    image_size=12,
    patch_size=4,
    channels=3,
    embed_dim=24,
    depth=2,
    heads=3,
    head_dim=8,
    mlp_dim=40,
    classes=7,
    activation="gelu",
)
HUGGING_FACE = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
TORCHVISION = {
    "norm1": "ln_1",
    "norm2": "ln_2",
    "attn.qkv": "self_attention.in_proj",
    "attn.proj": "self_attention.out_proj",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.3",
}
TORCHVISION_TOP = {
    "cls_token": "class_token",
    "pos_embed": "encoder.pos_embedding",
    "patch_embed.proj": "conv_proj",
    "norm": "encoder.ln",
    "head": "heads.head",
}
HUGGING_FACE_TOP = {
    "cls_token": "vit.embeddings.cls_token",
    "dist_token": "vit.embeddings.distillation_token",
    "pos_embed": "vit.embeddings.position_embeddings",
    "patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
    "norm": "vit.layernorm",
    "head": "classifier",
    "head_dist": "distillation_classifier",
}


def timm_state(config=CONFIG, layer_scale=False, seed=0):
    """Random float32 tensors under timm's names; weights of unit gain."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in float_shapes(config).items():
        spread = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) in (2, 4) else 0.3
        offset = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        state[name] = rng.normal(offset, spread, shape).astype(np.float32)
    if layer_scale:
        for n in range(config.depth):
            for part in ("ls1", "ls2"):
                gamma = rng.normal(0, 0.5, config.embed_dim)
                state[f"blocks.{n}.{part}.gamma"] = gamma.astype(np.float32)
    return state


def _top(name, table):
    layer, dot, kind = name.rpartition(".")
    return table[name] if name in table else table[layer] + dot + kind


def torchvision_state(state):
    """Rename a timm state; torchvision joins Q, K and V too."""
    renamed = {}
    for name, value in state.items():
        if not name.startswith("blocks."):
            renamed[_top(name, TORCHVISION_TOP)] = value
            continue
        _, number, rest = name.split(".", 2)
        layer, _, kind = rest.rpartition(".")
        mark = "_" if layer == "attn.qkv" else "."
        place = f"encoder.layers.encoder_layer_{number}."
        renamed[place + TORCHVISION[layer] + mark + kind] = value
    return renamed


def hugging_face_state(state):
    """Rename a timm state; Q, K and V become three layers."""
    renamed = {}
    for name, value in state.items():
        if not name.startswith("blocks."):
            renamed[_top(name, HUGGING_FACE_TOP)] = value
            continue
        _, number, rest = name.split(".", 2)
        layer, _, kind = rest.rpartition(".")
        place = f"vit.encoder.layer.{number}."
        if layer == "attn.qkv":
            for part, third in zip(("query", "key", "value"), np.split(value, 3), strict=True):
                renamed[f"{place}attention.attention.{part}.{kind}"] = third
        else:
            renamed[place + HUGGING_FACE[layer] + "." + kind] = value
    return renamed


KNOWN = Settings(heads=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), norm_epsilon=1e-6)
DTYPES = {"float32": "F32", "float16": "F16", "float64": "F64", "int8": "I8"}


def imported(state, settings=KNOWN):
    header = {name: (DTYPES[value.dtype.name], value.shape) for name, value in state.items()}
    return import_tensors(header, state.__getitem__, settings, "model")


def zeros(*shape):
    return np.zeros(shape, np.float32)
