"""Random quantised models whose values spread over the formats without mostly saturating."""

import numpy as np

from spec.model_file import Model, ModelConfig, tensor_table

SHAPES = {
    "demo": ModelConfig(
        image_size=28, patch_size=4, channels=1, embed_dim=64, depth=4, heads=2, head_dim=32,
        mlp_dim=128, classes=10, activation="gelu",
    ),
    "micro": ModelConfig(
        image_size=12, patch_size=4, channels=1, embed_dim=16, depth=2, heads=2, head_dim=8,
        mlp_dim=32, classes=10, activation="gelu",
    ),
    "odd": ModelConfig(
        image_size=6, patch_size=3, channels=1, embed_dim=20, depth=2, heads=2, head_dim=10,
        mlp_dim=37, classes=3, activation="gelu",
    ),
    "relu": ModelConfig(
        image_size=8, patch_size=4, channels=3, embed_dim=24, depth=1, heads=3, head_dim=5,
        mlp_dim=40, classes=11, activation="relu",
    ),
    "one_block": ModelConfig(
        image_size=4, patch_size=4, channels=1, embed_dim=8, depth=1, heads=1, head_dim=8,
        mlp_dim=8, classes=2, activation="gelu",
    ),
}  # fmt: skip
"""Named shapes: the demo, the micro model and some that do not divide by banks or lanes."""


def scale(factor: float) -> tuple[int, int]:
    """Multiplier in 2**15 .. 2**16 - 1 and shift whose product is near `factor`."""
    shift = 0
    while round(factor * 2**shift) < 1 << 15:
        shift += 1
    return min(round(factor * 2**shift), 65535), shift


def random_model(config: ModelConfig, seed: int = 0) -> Model:
    """A model of that shape with random weights, without the float tensors' meaning."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, (dtype, shape) in tensor_table(config).items():
        tensors[name] = np.zeros(shape, dtype)

    def linear(name: str, inputs: int, outputs: int, spread: float) -> None:
        tensors[f"{name}.weight"][:] = rng.integers(-127, 128, (inputs, outputs))
        acc = 40 * 73 * inputs**0.5
        tensors[f"{name}.bias"][:] = rng.normal(0, acc / 2, outputs)
        for column in range(outputs):
            multiplier, shift = scale(spread / acc * rng.uniform(0.5, 1.5))
            tensors[f"{name}.mult"][column] = multiplier
            tensors[f"{name}.shift"][column] = shift

    def norm(name: str) -> None:
        tensors[f"{name}.shift"][:] = 14
        unit = 40 * 2**14 / 2**12
        tensors[f"{name}.gain"][:] = rng.normal(0, unit, config.embed_dim)
        tensors[f"{name}.offset"][:] = rng.normal(0, 10 * 2**14, config.embed_dim)
        tensors[f"{name}.epsilon"][:] = rng.integers(0, 1 << 20)

    linear("patch_embed", config.patch_dim, config.embed_dim, 3000)
    tensors["embed.position"][:] = rng.normal(0, 2000, (config.tokens, config.embed_dim))
    for n in range(config.depth):
        block = f"blocks.{n}"
        norm(f"{block}.norm1")
        linear(f"{block}.attn.qkv", config.embed_dim, 3 * config.attention_dim, 40)
        for head in range(config.heads):
            score = scale(200 / (1600 * config.head_dim**0.5) * rng.uniform(0.5, 2))
            tensors[f"{block}.attn.score_mult"][head] = score[0]
            tensors[f"{block}.attn.score_shift"][head] = score[1]
            out = scale(rng.uniform(1, 3))
            tensors[f"{block}.attn.out_mult"][head] = out[0]
            tensors[f"{block}.attn.out_shift"][head] = out[1]
        linear(f"{block}.attn.proj", config.attention_dim, config.embed_dim, 3000)
        norm(f"{block}.norm2")
        linear(
            f"{block}.mlp.fc1", config.embed_dim, config.mlp_dim,
            1000 if config.activation == "gelu" else 60,
        )  # fmt: skip
        if config.activation == "gelu":
            multiplier, shift = scale(0.02)
            tensors[f"{block}.mlp.act.mult"][:] = multiplier
            tensors[f"{block}.mlp.act.shift"][:] = shift
            tensors[f"{block}.mlp.act.zero_point"][:] = -100
        linear(f"{block}.mlp.fc2", config.mlp_dim, config.embed_dim, 3000)
    norm("norm")
    linear("head", config.embed_dim, config.classes, 5000)
    return Model(config=config, tensors=tensors)


def random_pixels(config: ModelConfig, seed: int = 0) -> np.ndarray:
    """One picture, uint8 [1, channels, height, width]."""
    size = config.image_size
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (1, config.channels, size, size), dtype=np.uint8)
