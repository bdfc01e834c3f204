"""The shape of a vision transformer."""

import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from spec.errors import SievitError

__all__ = ["ModelConfig", "ModelFileError", "float_shapes"]

ACTIVATIONS = ("gelu", "relu")
POOLINGS = ("token", "distilled", "mean")
LIMITS = {"image_size": 4096, "channels": 64, "depth": 256, "embed_dim": 1023}
"""Larger values are taken for nonsense; 65,536 where none is given. LayerNorm ends at 1,023."""


class ModelFileError(SievitError, ValueError):
    """A model file that cannot be used: one line that says where and why."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A plain pre-norm ViT with square images and patches.

    The tokens are CLS, the distillation token (each if there is one), and the patches.
    """

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
    class_token: bool = True
    distillation_token: bool = False
    pooling: str = "token"
    """What the head reads of the normalised rows: `token`: the CLS row; `distilled`: the rows of
    CLS and distillation, with a head each, whose logits are averaged; `mean`: the mean of the
    patches' rows."""

    def __post_init__(self) -> None:
        """Check every field, with messages that name it."""
        for name, value in asdict(self).items():
            if name in ("activation", "pooling"):
                continue
            if name.endswith("_token"):
                if not isinstance(value, bool):
                    raise ModelFileError(f"{name} must be true or false, not {value!r}")
                continue
            limit = LIMITS.get(name, 1 << 16)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
                raise ModelFileError(f"{name} must be an integer in 1..{limit}, not {value!r}")
        if self.activation not in ACTIVATIONS:
            raise ModelFileError(f"activation must be gelu or relu, not {self.activation!r}")
        if self.pooling not in POOLINGS:
            raise ModelFileError(f"pooling must be token, distilled or mean, not {self.pooling!r}")
        for name, wants in (
            ("class_token", self.distillation_token or self.pooling != "mean"),
            ("distillation_token", self.pooling == "distilled"),
        ):
            if wants and not getattr(self, name):
                raise ModelFileError(
                    f"{name} must be true with pooling '{self.pooling}'"
                    + " and a distillation_token" * self.distillation_token
                )
        if self.image_size % self.patch_size:
            raise ModelFileError(
                f"patch_size must divide image_size ({self.image_size}), not {self.patch_size}"
            )

    @classmethod
    def from_json(cls, text: str | None, where: str) -> "ModelConfig":
        """Parse a metadata entry; `head_dim` defaults to embed_dim / heads, others as declared."""
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
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        for kind, names in (("missing", needed - set(values)), ("unknown", set(values) - known)):
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
        """Tokens: those before the patches, and the patches."""
        return self.prefix_tokens + self.patches

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the patches: CLS and the distillation token."""
        return int(self.class_token) + int(self.distillation_token)

    @property
    def head_rows(self) -> range:
        """The tokens whose rows the last LayerNorm normalises."""
        if self.pooling == "mean":
            return range(self.prefix_tokens, self.tokens)
        return range(2 if self.pooling == "distilled" else 1)

    @property
    def head_depth(self) -> int:
        """Inputs of the head: `distilled` lays the two normalised rows behind each other."""
        return self.embed_dim * (2 if self.pooling == "distilled" else 1)

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
    shapes: dict[str, tuple[int, ...]] = {}
    if config.class_token:
        shapes["cls_token"] = (1, 1, dim)
    if config.distillation_token:
        shapes["dist_token"] = (1, 1, dim)
    shapes["pos_embed"] = (1, config.tokens, dim)
    shapes["patch_embed.proj.weight"] = (dim, config.channels, size, size)
    shapes["patch_embed.proj.bias"] = (dim,)

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
    if config.pooling == "distilled":
        linear("head_dist", config.classes, dim)
    return shapes
