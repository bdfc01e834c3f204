"""The shape of a vision transformer."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from spec.errors import SievitError

__all__ = ["ModelConfig", "ModelFileError", "float_shapes"]

ACTIVATIONS = ("gelu", "relu")
LIMITS = {"image_size": 4096, "channels": 64, "depth": 256, "embed_dim": 1023}
"""Larger values are taken for nonsense; 65,536 where none is given. LayerNorm ends at 1,023."""


class ModelFileError(SievitError, ValueError):
    """A model file that cannot be used: one line that says where and why."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A plain pre-norm ViT with square images and patches, and a CLS token in row 0."""

    image_size: int
    patch_size: int
    channels: int
    embed_dim: int
    depth: int
    heads: int
    head_dim: int
    mlp_dim: int
    classes: int
    activation: str

    def __post_init__(self) -> None:
        """Check every field, with messages that name it."""
        for name, value in asdict(self).items():
            if name == "activation":
                continue
            limit = LIMITS.get(name, 1 << 16)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
                raise ModelFileError(f"{name} must be an integer in 1..{limit}, not {value!r}")
        if self.activation not in ACTIVATIONS:
            raise ModelFileError(f"activation must be gelu or relu, not {self.activation!r}")
        if self.image_size % self.patch_size:
            raise ModelFileError(
                f"patch_size must divide image_size ({self.image_size}), not {self.patch_size}"
            )

    @classmethod
    def from_json(cls, text: str | None, where: str) -> "ModelConfig":
        """Parse a metadata entry; `head_dim` defaults to embed_dim / heads."""
        try:
            values: Any = json.loads(text or "")
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise ModelFileError(f"{where}: metadata 'config' must be a JSON object")
        known = {field.name for field in fields(cls)}
        if "head_dim" not in values:
            dim, heads = values.get("embed_dim"), values.get("heads")
            if isinstance(dim, int) and isinstance(heads, int) and heads > 0:
                if dim % heads:
                    raise ModelFileError(
                        f"{where}: config: heads must divide embed_dim ({dim}) "
                        f"unless head_dim is given, not {heads}"
                    )
                values["head_dim"] = dim // heads
        for kind, names in (("missing", known - set(values)), ("unknown", set(values) - known)):
            if names:
                raise ModelFileError(f"{where}: config: {kind} key '{min(names)}'")
        try:
            return cls(**values)
        except ModelFileError as error:
            raise ModelFileError(f"{where}: config: {error}") from None

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def tokens(self) -> int:
        """Tokens: CLS and the patches."""
        return self.patches + 1

    @property
    def patch_dim(self) -> int:
        """Pixel values of a patch, in (channel, row, column) order."""
        return self.channels * self.patch_size**2

    @property
    def attention_dim(self) -> int:
        """Channels of all heads together."""
        return self.heads * self.head_dim


def float_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the float parameters, under timm's names."""
    dim, size = config.embed_dim, config.patch_size
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, config.tokens, dim),
        "patch_embed.proj.weight": (dim, config.channels, size, size),
        "patch_embed.proj.bias": (dim,),
    }

    def linear(name: str, outputs: int, inputs: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs)
        shapes[f"{name}.bias"] = (outputs,)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (dim,)

    for n in range(config.depth):
        norm(f"blocks.{n}.norm1")
        linear(f"blocks.{n}.attn.qkv", 3 * config.attention_dim, dim)
        linear(f"blocks.{n}.attn.proj", dim, config.attention_dim)
        norm(f"blocks.{n}.norm2")
        linear(f"blocks.{n}.mlp.fc1", config.mlp_dim, dim)
        linear(f"blocks.{n}.mlp.fc2", dim, config.mlp_dim)
    norm("norm")
    linear("head", config.classes, dim)
    return shapes
