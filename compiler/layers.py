"""What lowering makes of a network: layers of column blocks, without addresses."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.mask_lists import Places
from compiler.packing import HeadPacking
from spec.image import TensorPart
from spec.isa import HEAD_SCALE, HEAD_SCALES, Activation, Destination, ScoreUse
from spec.model_file import Model

__all__ = [
    "ATTENTION_INPUTS",
    "SELECTOR",
    "Attention",
    "Block",
    "Head",
    "Layer",
    "Linear",
    "Lowered",
    "Mean",
    "Norm",
    "Role",
    "Select",
    "View",
]

View = tuple[str, TensorPart]
"""Tensor name and the piece an instruction makes of it (its pc is set by the scheduler)."""


class Role(Enum):
    """What a fully connected layer is to its neighbours; scheduling follows from it."""

    PATCH = "patch"
    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    PROJ = "proj"
    FC1 = "fc1"
    FC2 = "fc2"
    POOL = "pool"
    """Copies one word of the normalised patches into row memory."""
    HEAD = "head"
    ATTEND1 = "attend1"
    """Of a token selector from here on: hidden channels of the heads' attention."""
    ATTEND2 = "attend2"
    LOCAL = "local"
    GLOBAL = "global"
    """Goes to row memory, where an attention takes its mean."""
    SUMS = "sums"
    """What the mean adds to every row of score1."""
    SCORE1 = "score1"
    SCORE2 = "score2"
    KEEP = "keep"


ATTENTION_INPUTS = (Role.QUERY, Role.KEY, Role.VALUE)
"""Layers that work while keys and values are in row memory."""
SELECTOR = (
    Role.ATTEND1,
    Role.ATTEND2,
    Role.LOCAL,
    Role.GLOBAL,
    Role.SUMS,
    Role.SCORE1,
    Role.SCORE2,
    Role.KEEP,
)
"""Layers of a token selector. But for the first, a column block takes some heads' inputs only."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One column block: `lanes` output channels; unused lanes carry zeros.

    With head groups: up to as many column blocks side by side, each whole but the last.
    weight : int8 [depth, groups * lanes]; addend, multiplier, shift : int64 [groups * lanes]
    """

    weight: NDArray[np.int8]
    addend: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    columns: int
    word: int
    """Where the block's word (or word pair) lies in a target row."""
    views: tuple[View, ...]
    groups: int = 1
    """Head groups that take part."""
    group_words: int = 0
    """Words from one group's result to the next one's."""
    first_input: int = 0
    """Of a block that takes some of the inputs (a chunk): the first; a multiple of lanes."""
    adds: bool = False
    """Adds the sums of the inputs before."""
    keeps: bool = False
    """Keeps its sums for the inputs behind."""

    @property
    def depth(self) -> int:
        """Inputs."""
        return len(self.weight)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A fully connected layer."""

    name: str
    role: Role
    source: str
    target: str
    destination: Destination
    blocks: tuple[Block, ...]
    source_word: int = 0
    """First word of a source row that it reads."""
    zero_point: int = 0
    activation: Activation = Activation.NONE
    activation_multiplier: int = 0
    activation_shift: int = 0
    activation_zero_point: int = 0
    first_reader: bool = False
    """The first layer that reads what the last LayerNorm wrote."""
    last_value: bool = False
    """The last V of its encoder block: nothing behind it reads norm1's rows."""
    last_writer: bool = False
    """The last layer that writes the residual stream."""
    last_word: bool = True
    """No other layer of the same role follows for further column blocks."""
    behind_select: bool = False
    """The first layer of the array behind a selection."""
    threshold: int = 0
    """Results that are not larger become 0."""
    skip_zeros: bool = False
    """Its scalars may be 0 often: those cost no step."""
    reads_relu: bool = False
    """Its scalars come from a ReLU."""
    places: Places | None = None
    """K and V that lists read: where each token's rows lie."""
    positions: NDArray[np.uint8] | None = None
    """Likewise, as token memory holds it."""

    @property
    def depth(self) -> int:
        """Inputs of each output."""
        return max(block.first_input + block.depth for block in self.blocks)

    @property
    def chunked(self) -> bool:
        """Its column blocks are used in pieces and keep sums."""
        return any(block.keeps for block in self.blocks)


@dataclass(frozen=True, kw_only=True)
class Head:
    """One attention head, and those of the other head groups beside it."""

    first_lane: int
    word: int
    """Its first word in a context row."""
    score_multiplier: int
    score_shift: int
    output_multiplier: int
    output_shift: int
    views: tuple[View, ...]
    scores: ScoreUse = ScoreUse.NONE
    """What becomes of the attention of CLS."""
    lists: NDArray[np.uint8] | None = None
    """Kept scores, if not all are, as token memory holds them."""
    beside: tuple["Head", ...] = ()
    """One head in each further head group; `views` of the first has theirs too."""

    @property
    def fields(self) -> dict[str, Any]:
        """Of its ATTENTION, but for sizes and places."""
        scales = {name: getattr(self, name) for name in HEAD_SCALE}
        return {
            "first_lane": self.first_lane,
            **scales,
            "further_groups": len(self.beside),
            "scores": self.scores,
        }

    @property
    def scales_beside(self) -> dict[str, int]:
        """Fields of HEAD_SCALES."""
        fields = dict.fromkeys(HEAD_SCALES.members, 0)
        for group, other in enumerate(self.beside, start=1):
            fields |= {f"{name}_{group}": getattr(other, name) for name in HEAD_SCALE}
        return fields


@dataclass(frozen=True, kw_only=True)
class Attention:
    """The heads of one group (with head groups: of one round of groups)."""

    name: str
    heads: tuple[Head, ...]
    last_group: bool
    score_threshold: int = 0
    prob_threshold: int = 0
    context_threshold: int = 0
    skip_zeros: bool = False
    """Probabilities of 0 cost no step."""


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean of the rows behind the prefix in one word of channels: attention without scores.

    Its keys and values are what the pool layer before it wrote, its query is any row: with a score
    multiplier of 0 all logits are 0, and all probabilities 255.
    """

    name: str
    word: int
    columns: int
    output_multiplier: int
    output_shift: int
    last: bool
    """The last word."""
    views: tuple[View, ...]
    target: str = "pool"


@dataclass(frozen=True, kw_only=True)
class Norm:
    """A LayerNorm; the last one normalises the rows that the head reads.

    gain, offset, shift : int64 [words * lanes], zero beyond the model's channels
    """

    name: str
    for_head: bool
    gain: NDArray[np.int64]
    offset: NDArray[np.int64]
    shift: NDArray[np.int64]
    epsilon: int
    views: tuple[View, ...]
    behind_select: bool = False
    """Its rows are what a selection left."""


@dataclass(frozen=True, kw_only=True)
class Select:
    """A selection of tokens."""

    name: str
    fields: dict[str, Any]
    """Of its SELECT, but for places."""
    views: tuple[View, ...]


Layer = Linear | Attention | Mean | Norm | Select


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """The whole network."""

    model: Model
    lanes: int
    packing: HeadPacking
    position: NDArray[np.int16]
    """Position embedding, int16 [tokens, residual channels padded to words]."""
    position_views: tuple[View, ...]
    layers: tuple[Layer, ...]
    key_groups: int
    """Places of keys in a bank, the most of all encoder blocks."""

    def describe(self) -> str:
        """One line a layer."""
        lines = []
        for layer in self.layers:
            if isinstance(layer, Linear):
                lines.append(
                    f"{layer.name:<24} {layer.role.value:<6} {layer.source}->{layer.target} "
                    f"depth {layer.depth}, {len(layer.blocks)} blocks, "
                    f"{sum(block.columns for block in layer.blocks)} columns"
                )
            elif isinstance(layer, Attention):
                heads = sum(1 + len(head.beside) for head in layer.heads)
                lines.append(f"{layer.name:<24} attention, {heads} heads")
            elif isinstance(layer, Mean):
                lines.append(f"{layer.name:<24} mean of patches, word {layer.word}")
            elif isinstance(layer, Select):
                lines.append(f"{layer.name:<24} selection by {layer.fields['scores'].name}")
            else:
                lines.append(f"{layer.name:<24} norm{', head rows' if layer.for_head else ''}")
        return "\n".join(lines)
