"""Quantised models by name alone: random weights, calibrated on random pictures."""

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quantize.architectures import ARCHITECTURES, random_weights
from quantize.efforts import split_efforts, with_shape
from quantize.errors import QuantizeError
from quantize.float_model import FloatModel
from quantize.force_zeros import force_zeros
from quantize.masks import mask_counts, with_masks
from quantize.pictures import random_pictures
from quantize.quantize_model import quantize_model
from quantize.random_masks import published_masks, random_masks
from quantize.stages import force_keep, kept_counts, with_stages
from spec.efforts import Effort
from spec.model_config import ModelConfig, Stage, float_shapes
from spec.model_file import Model

__all__ = [
    "first_blocks",
    "is_named",
    "named_counts",
    "named_masks",
    "named_shape",
    "quantized_named",
]

CALIBRATION_PICTURES = 8
BLOCKS = ":"
"""Between a name and a number of encoder blocks: `deit_base_patch16_224:2` has the first two."""
STAGE = "+"
"""Before each stage: `deit_tiny_patch16_224+3:0.70+6:0.39` keeps 70 % of the patches before block 3
and 39 % before block 6."""
SIEVE = "~"
"""Before masks and ReLU: `deit_tiny_patch16_224~vitcod` has ViTCoD's published masks, `~0.90`
random ones that leave out 90 % of the scores, `~relu0.6` ReLU with 60 % zeros."""
RELU = "relu"
VITCOD = "vitcod"
CLS = "cls"
"""Before a block in whose stage the attention of CLS is the score: `+cls3:0.70`."""


@dataclass(frozen=True, kw_only=True)
class _Name:
    """The parts of a name."""

    base: str
    depth: str | None
    """Encoder blocks, if not all."""
    stages: tuple[Stage, ...]
    ratios: tuple[float, ...]
    """Of each stage: the share of the patches that is left."""
    mask: str = ""
    """`vitcod`, or the sparsity of random masks."""
    zeros: float | None = None
    """With ReLU: the share of hidden codes that is 0."""
    efforts: tuple[Effort, ...] = ()


def is_named(name: str) -> bool:
    """Whether `quantized_named` knows the name, perhaps with a number of blocks and with stages."""
    return name.partition(STAGE)[0].partition(SIEVE)[0].partition(BLOCKS)[0] in ARCHITECTURES


def quantized_named(name: str, seed: int = 0) -> Model:
    """Make the model; the same one on every machine.

    `NAME:N` is its first N encoder blocks. `NAME+BLOCK:SHARE...` has random stages, whose
    thresholds leave these shares of the patches of one picture: with seed 0 the first one of the
    command line's `--dataset random`. `NAME~vitcod` and `NAME~0.90` have masks, see
    `quantize.random_masks`, and `NAME~relu0.6` has ReLU and zeros, see `quantize.force_zeros`, for
    the same picture. `NAME~skip1.3@0.7` has efforts, see `quantize.efforts`; counts and shares are
    those of a pass that skips nothing.
    """
    parts, shape = _parse(name), named_shape(name, seed)
    model = random_weights(parts.base, seed)
    if parts.zeros is not None:
        model = replace(model, config=replace(model.config, activation="relu"))
    if shape.depth < model.config.depth:
        model = first_blocks(model, shape.depth)
    model = replace(model, config=replace(model.config, efforts=shape.efforts))
    pictures = random_pictures(model.config, CALIBRATION_PICTURES, seed)
    quantized = quantize_model(model, pictures)
    (unseen,) = random_pictures(model.config, 1, seed + 1)
    kept = named_masks(name, seed)
    if kept is not None:
        quantized = with_masks(quantized, kept)
    if parts.zeros is not None:
        quantized = force_zeros(quantized, unseen, parts.zeros)
    if not parts.stages:
        return quantized
    staged = with_stages(quantized, parts.stages, pictures[:1], seed)
    return force_keep(staged, unseen, parts.ratios)


def named_shape(name: str, seed: int = 0) -> ModelConfig:
    """The shape of the model of that name; its stages have thresholds that mean nothing."""
    parts, shape = _parse(name), _whole_shape(name)
    counts = kept_counts(shape, parts.ratios)
    stages = zip(parts.stages, counts, strict=True)
    shape = replace(shape, stages=tuple(replace(stage, tokens=n) for stage, n in stages))
    kept = named_masks(name, seed)
    return shape if kept is None else replace(shape, masks=mask_counts(kept))


def named_masks(name: str, seed: int = 0) -> NDArray[np.bool_] | None:
    """The masks of the model of that name; None without.

    A block whose attention of CLS decides in the next one's stage has none: all is kept.
    result : bool [depth, heads, queries, keys]
    """
    parts = _parse(name)
    if not parts.mask:
        return None
    shape = _whole_shape(name)
    try:
        if parts.mask == VITCOD:
            kept = published_masks(shape)
        else:
            kept = random_masks(shape, float(parts.mask), seed)
    except QuantizeError as error:
        raise QuantizeError(f"{name}: {error}") from None
    for stage in parts.stages:
        if stage.rule == "cls_attention":
            kept[stage.block - 1] = True
    return kept


def _whole_shape(name: str) -> ModelConfig:
    """The shape without masks; how many tokens its stages leave is not known."""
    parts = _parse(name)
    shape = ARCHITECTURES[parts.base].config
    if parts.zeros is not None:
        shape = replace(shape, activation="relu")
    depth = shape.depth
    if parts.depth is not None:
        if not parts.depth.isdecimal() or not 1 <= int(parts.depth) <= depth:
            raise QuantizeError(f"{name}: {parts.base} has 1..{depth} blocks, not '{parts.depth}'")
        depth = int(parts.depth)
    for stage in parts.stages:
        if not 1 <= stage.block < depth:
            raise QuantizeError(
                f"{name}: a stage's block must lie in 1..{depth - 1}, not {stage.block}"
            )
    try:
        shape = replace(shape, depth=depth, stages=parts.stages)
        return with_shape(shape, parts.efforts)
    except QuantizeError as error:
        raise QuantizeError(f"{name}: {error}") from None


def named_counts(name: str) -> tuple[int, ...]:
    """Tokens behind each stage of the model of that name."""
    return kept_counts(named_shape(name), _parse(name).ratios)


def first_blocks(model: FloatModel, depth: int) -> FloatModel:
    """The model without its last encoder blocks."""
    config = replace(model.config, depth=depth)
    kept = {name: model.parameters[name] for name in float_shapes(config)}
    return replace(model, config=config, parameters=kept)


def _parse(name: str) -> _Name:
    """Take a name apart; `QuantizeError` for stages that are not written as `BLOCK:SHARE`."""
    dense, efforts = split_efforts(name)
    plain, mask, zeros = _sieves(dense)
    whole, *texts = plain.split(STAGE)
    base, cut, depth = whole.partition(BLOCKS)
    stages, ratios = [], []
    for text in texts:
        block, _, ratio = text.removeprefix(CLS).partition(BLOCKS)
        try:
            share = float(ratio)
        except ValueError:
            share = -1.0
        if not block.isdecimal() or not 0 <= share <= (ratios[-1] if ratios else 1):
            raise QuantizeError(
                f"{name}: a stage is +BLOCK:SHARE or +{CLS}BLOCK:SHARE, with shares of 0..1 that "
                f"do not grow, not '{STAGE}{text}'"
            )
        if stages and int(block) <= stages[-1].block:
            raise QuantizeError(f"{name}: blocks of stages must grow, not '{STAGE}{text}'")
        rule = "cls_attention" if text.startswith(CLS) else "selector"
        stages.append(Stage(block=int(block), rule=rule))
        ratios.append(share)
    depth = depth if cut else None
    return _Name(
        base=base,
        depth=depth,
        stages=tuple(stages),
        ratios=tuple(ratios),
        mask=mask,
        zeros=zeros,
        efforts=efforts,
    )


def _sieves(name: str) -> tuple[str, str, float | None]:
    """The name without its masks and ReLU; the masks; and the share of zeros."""
    mask, zeros = "", None
    pieces = re.findall(r"~[^~+:]*|[^~]+", name)
    plain = "".join(piece for piece in pieces if not piece.startswith(SIEVE))
    for piece in pieces:
        if not piece.startswith(SIEVE):
            continue
        text = piece.removeprefix(SIEVE)
        number = text.removeprefix(RELU)
        good = re.fullmatch(r"0?\.\d+|0", number) or text == VITCOD
        if text.startswith(RELU) and zeros is None and good:
            zeros = float(number)
        elif not text.startswith(RELU) and not mask and good:
            mask = text
        else:
            raise QuantizeError(
                f"{name}: masks are {SIEVE}{VITCOD} or {SIEVE}SHARE, ReLU is {SIEVE}{RELU}SHARE, "
                f"each once and with a share of 0..1 such as 0.90, not '{piece}'"
            )
    return plain, mask, zeros
