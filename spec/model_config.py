"""The shape of a vision transformer."""

import json
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, TypeVar

from spec.efforts import Effort, EffortError, check_efforts
from spec.errors import SievitError
from spec.formats import SCORE, SELECTOR

__all__ = ["THRESHOLDS", "Effort", "ModelConfig", "ModelFileError", "Stage", "float_shapes"]

ACTIVATIONS = ("gelu", "relu")
POOLINGS = ("token", "distilled", "mean")
RULES = ("selector", "cls_attention")
PACKAGES = ("weighted", "mean", "none")
PACKAGE_ROWS = ("merged", "each")
CHOICES = {
    "activation": ACTIVATIONS,
    "pooling": POOLINGS,
    "package": PACKAGES,
    "packages": PACKAGE_ROWS,
}
"""Fields that are one of a few words."""
THRESHOLDS = ("q", "k", "v", "scores", "probs", "context", "proj", "fc1", "fc2")
"""Tensors of an encoder block that a threshold can clear (DynaTran), in the order of the file."""
LIMITS = {"image_size": 4096, "channels": 64, "depth": 256, "embed_dim": 1023}
"""Larger values are taken for nonsense; 65,536 where none is given. LayerNorm ends at 1,023."""


class ModelFileError(SievitError, ValueError):
    """A model file that cannot be used: one line that says where and why."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A selection of tokens before an encoder block."""

    block: int
    """1 .. depth - 1."""
    rule: str
    """`selector`: HeatViT's classifier; `cls_attention`: the attention of CLS in the encoder block
    before, summed over heads."""
    threshold: int = 1 << SELECTOR.score_bits - 1
    """SCORE from which a token is kept."""
    tokens: int = 0
    """Tokens that are expected to be left, 0 if unknown: programs are laid out for them, and run
    with any other number."""


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
    stages: tuple[Stage, ...] = ()
    """Selections of tokens, in the order of their blocks."""
    package: str = "weighted"
    """What becomes of the tokens that a stage drops: their mean, weighted by score or plain, is a
    token of its own, or nothing is."""
    packages: str = "merged"
    """`merged`: one package token, into which the next stage's goes; `each`: one a stage."""
    masks: tuple[int, ...] = ()
    """Kept attention scores of each encoder block, all heads together; 0: all, there is no mask.
    No entries: no block has one."""
    thresholds: bool = False
    """Each encoder block has thresholds, for `THRESHOLDS`."""
    auto_encoder: int = 0
    """Heads that Q and K are compressed to (ViTCoD); 0: they are not. Folded into the integers."""
    efforts: tuple[Effort, ...] = ()
    """Passes of the network, with the same weights, until one is certain of its answer (PIVOT). No
    entries: one pass that skips nothing."""

    def __post_init__(self) -> None:
        """Check every field, with messages that name it."""
        for name, value in asdict(self).items():
            if name in CHOICES:
                if value not in CHOICES[name]:
                    *others, last = CHOICES[name]
                    raise ModelFileError(
                        f"{name} must be {', '.join(others)} or {last}, not {value!r}"
                    )
                continue
            if name in ("stages", "masks", "efforts"):
                continue
            if name == "auto_encoder":
                if type(value) is not int or not 0 <= value <= self.heads:
                    raise ModelFileError(f"{name} must be an integer in 0..heads, not {value!r}")
                continue
            if name == "thresholds" or name.endswith("_token"):
                if not isinstance(value, bool):
                    raise ModelFileError(f"{name} must be true or false, not {value!r}")
                continue
            limit = LIMITS.get(name, 1 << 16)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
                raise ModelFileError(f"{name} must be an integer in 1..{limit}, not {value!r}")
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
        self._check_stages()
        self._check_masks()
        self._check_efforts()

    def _check_masks(self) -> None:
        most = self.heads * self.tokens**2
        for number, kept in enumerate(self.masks):
            if type(kept) is not int or not (kept == 0 or self.tokens <= kept <= most):
                raise ModelFileError(
                    f"masks[{number}] must be 0 or a number of kept scores in "
                    f"{self.tokens}..{most}, not {kept!r}"
                )
        if any(self.masks) and self.stages and not self.class_token:
            raise ModelFileError("masks and stages together need a class_token, which always stays")
        if self.masks and len(self.masks) != self.depth:
            raise ModelFileError(
                f"masks must have an entry for each of {self.depth} blocks, not {len(self.masks)}"
            )
        for stage in self.stages:
            masked = self.masks and self.masks[stage.block - 1]
            if masked and stage.rule == "cls_attention":
                raise ModelFileError(
                    f"masks[{stage.block - 1}] must be 0: rule cls_attention before block "
                    f"{stage.block} needs all scores of the block before"
                )

    def _check_efforts(self) -> None:
        try:
            check_efforts(self.efforts, self.depth)
        except EffortError as error:
            raise ModelFileError(str(error)) from None
        for number, effort in enumerate(self.efforts):
            for stage in self.stages:
                if stage.rule == "cls_attention" and stage.block - 1 in effort.skipped:
                    raise ModelFileError(
                        f"efforts[{number}]: block {stage.block - 1} must not be skipped: rule "
                        f"cls_attention before block {stage.block} needs its attention"
                    )

    @property
    def passes(self) -> tuple[Effort, ...]:
        """The efforts, at least one."""
        return self.efforts or (Effort(),)

    def package_tokens(self, block: int) -> int:
        """Package tokens there can be in an encoder block."""
        stages = sum(stage.block <= block for stage in self.stages)
        if self.package == "none":
            return 0
        return stages if self.packages == "each" else min(stages, 1)

    def masked(self, block: int) -> bool:
        """Whether an encoder block has a mask."""
        return bool(self.masks and self.masks[block])

    def _check_stages(self) -> None:
        before = 0
        for number, stage in enumerate(self.stages):
            where = f"stages[{number}]"
            for name, low, high in (
                ("block", 1, self.depth - 1),
                ("threshold", SCORE.low, SCORE.high),
                ("tokens", 0, self.tokens),
            ):
                value = getattr(stage, name)
                if type(value) is not int or not low <= value <= high:
                    raise ModelFileError(
                        f"{where}: {name} must be an integer in {low}..{high}, not {value!r}"
                    )
            if stage.rule not in RULES:
                raise ModelFileError(
                    f"{where}: rule must be {' or '.join(RULES)}, not {stage.rule!r}"
                )
            if stage.block <= before:
                raise ModelFileError(
                    f"{where}: block must be more than {before}, that of the stage before, "
                    f"not {stage.block}"
                )
            if stage.rule == "cls_attention" and not self.class_token:
                raise ModelFileError(f"{where}: rule cls_attention needs a class_token")
            if stage.rule == "selector" and self.embed_dim % self.heads:
                raise ModelFileError(
                    f"{where}: rule selector needs heads that divide embed_dim "
                    f"({self.embed_dim}), not {self.heads}"
                )
            before = stage.block
        if self.stages and self.heads > SELECTOR.max_heads:
            raise ModelFileError(
                f"heads must be at most {SELECTOR.max_heads} with stages, not {self.heads}"
            )
        if self.packages == "each" and self.package != "none" and len(self.stages) > self.patches:
            raise ModelFileError(
                f"stages must be at most {self.patches}, one package token for each patch, "
                f"not {len(self.stages)}"
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
        values["stages"] = _entries(Stage, "stages", values, where)
        values["efforts"] = tuple(
            replace(effort, skipped=tuple(effort.skipped))
            for effort in _entries(Effort, "efforts", values, where)
        )
        masks = values.get("masks", [])
        if not isinstance(masks, list):
            raise ModelFileError(f"{where}: config: masks must be a list, not {masks!r}")
        values["masks"] = tuple(masks)
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
    def selector_dims(self) -> tuple[int, int, int]:
        """Widths in a token selector: a head's slice, half of it, and a quarter."""
        head = self.embed_dim // self.heads
        return head, max(head // 2, 1), max(head // 4, 1)

    @property
    def selector_hidden(self) -> int:
        """Hidden channels of a token selector's attention branch."""
        return max(self.heads // 2, 1)

    @property
    def patch_dim(self) -> int:
        """Pixel values of a patch, in (channel, row, column) order."""
        return self.channels * self.patch_size**2

    @property
    def attention_dim(self) -> int:
        """Channels of all heads together."""
        return self.heads * self.head_dim


Entry = TypeVar("Entry", Stage, Effort)

_ENTRY = {
    "stages": "block and rule, and may have threshold and tokens",
    "efforts": "a list of skipped blocks, and may have threshold",
}


def _entries(kind: type[Entry], name: str, values: dict[str, Any], where: str) -> tuple[Entry, ...]:
    """The stages or efforts of a metadata entry."""
    entries = values.get(name, [])
    if not isinstance(entries, list | tuple):
        raise ModelFileError(f"{where}: config: {name} must be a list, not {entries!r}")
    made = []
    for number, entry in enumerate(entries):
        try:
            made.append(kind(**entry))
            if kind is Effort and not isinstance(entry["skipped"], list):
                raise TypeError
        except (TypeError, KeyError):
            raise ModelFileError(
                f"{where}: config: {name}[{number}] must have {_ENTRY[name]}, not {entry!r}"
            ) from None
    return tuple(made)


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
        if config.auto_encoder:
            for tensor in "qk":
                name = f"blocks.{n}.attn.{tensor}"
                linear(f"{name}_encode", config.auto_encoder, config.heads)
                linear(f"{name}_decode", config.heads, config.auto_encoder)
        norm(f"blocks.{n}.norm2")
        linear(f"blocks.{n}.mlp.fc1", config.mlp_dim, dim)
        linear(f"blocks.{n}.mlp.fc2", dim, config.mlp_dim)
    for stage in config.stages:
        if stage.rule == "selector":
            shapes |= _float_selector(config, f"blocks.{stage.block}.selector")
    norm("norm")
    linear("head", config.classes, dim)
    if config.pooling == "distilled":
        linear("head_dist", config.classes, dim)
    return shapes


def _float_selector(config: ModelConfig, name: str) -> dict[str, tuple[int, ...]]:
    """Parameters of a token selector; those of the heads are stacked."""
    heads, hidden = config.heads, config.selector_hidden
    full, half, quarter = config.selector_dims
    shapes: dict[str, tuple[int, ...]] = {}
    for part, outputs, inputs in (
        ("local", half, full),
        ("global", half, full),
        ("score1", half, 2 * half),
        ("score2", quarter, half),
        ("score3", 2, quarter),
    ):
        shapes[f"{name}.{part}.weight"] = (heads, outputs, inputs)
        shapes[f"{name}.{part}.bias"] = (heads, outputs)
    for part, outputs, inputs in (("attn1", hidden, heads), ("attn2", heads, hidden)):
        shapes[f"{name}.{part}.weight"] = (outputs, inputs)
        shapes[f"{name}.{part}.bias"] = (outputs,)
    return shapes
