"""A selection of tokens before an encoder block, as layers that the machine has.

The scores of rule `selector` are a small network for every head. All heads lie side by side in
their natural order, and a column block takes the words of the heads that it touches: weights of a
head for another head's channels are 0. In the order of the program:

- a LayerNorm with the tables of the block's norm1, over all rows;
- attn1 and attn2, the attention of the heads;
- local; global, word by word into row memory, where an attention takes its mean as the mean of the
  patches is taken (`compiler.pooling`);
- score1: of each word first the part that the mean has in it, sums over one row, then that of
  local, to every row of which these sums are added (`broadcast`);
- score2, and keep.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError, need
from compiler.layers import Block, Layer, Linear, Mean, Norm, Role, Select
from compiler.packing import words
from spec.config import Config
from spec.formats import SELECTOR
from spec.image import TensorPart
from spec.isa import Activation, Destination, Package, Scores
from spec.model_file import Model, Stage

__all__ = ["KEEP_STRIDE", "check_stages", "select_layer", "selector_layers"]

KEEP_STRIDE = 2
"""Words from one row of keep logits (or of attention logits) to the next."""


def check_stages(model: Model, config: Config) -> None:
    """Refuse selections that the machine cannot make."""
    for stage in model.config.stages:
        where = f"blocks.{stage.block}.selector"
        for part, wanted in (
            ("token_selector", True),
            ("cls_scores", stage.rule == "cls_attention"),
        ):
            if wanted and not getattr(config, part):
                raise CompileError(
                    f"{where}: rule {stage.rule} needs {part}, preset '{config.name}' has none "
                    f"({part}=on)"
                )
        if stage.rule == "selector":
            most = min(config.lanes, SELECTOR.max_heads)
            need(where, model.config.heads, "heads", most, "lanes", config)


def select_layer(model: Model, stage: Stage, lanes: int) -> Select:
    """The selection itself."""
    shape = model.config
    name = f"blocks.{stage.block}.selector"
    part = TensorPart(
        pc=0,
        memory="moved",
        words=2 * words(shape.embed_dim, lanes),
        bits=16,
        rows=shape.tokens,
        count=shape.embed_dim,
    )
    by_classifier = stage.rule == "selector"
    return Select(
        name=f"{name}.tokens",
        fields={
            "heads": shape.heads if by_classifier else 1,
            "prefix": shape.prefix_tokens,
            "threshold": stage.threshold,
            "weight_shift": SELECTOR.weight_shift(stage.threshold),
            "scores": Scores.CLASSIFIER if by_classifier else Scores.CLS_ATTENTION,
            "package": Package[shape.package.upper()],
            "each": int(shape.packages == "each"),
            "more": 0,
        },
        views=((f"{name}.tokens", part),),
    )


def selector_layers(model: Model, norm: Norm, block: int, lanes: int) -> list[Layer]:
    """The layers before the selection before encoder block `block`, but for the LayerNorm.

    norm : norm1 of the encoder block
    """
    return [*_Selector(model, f"blocks.{block}.selector", lanes).layers(norm)]


class _Selector:
    """One selector's tensors, and the few operations that make layers of them."""

    def __init__(self, model: Model, name: str, lanes: int) -> None:
        self.model, self.name, self.lanes = model, name, lanes
        self.shape = model.config

    def layers(self, norm: Norm) -> Iterator[Layer]:
        """All of them, in the order of the program."""
        (_, part), *_ = norm.views
        yield replace(norm, name=f"{self.name}.norm", views=((f"{self.name}.norm", part),))
        yield self.linear("attn1", Role.ATTEND1, "norm", first_reader=True)
        yield self.linear("attn2", Role.ATTEND2, "attn1", tensor="attend")
        yield self.linear("local", Role.LOCAL, "norm")
        yield from self.means()
        yield from self.first_score()
        yield self.linear("score2", Role.SCORE2, "score1")
        yield self.linear("keep", Role.KEEP, "score2")

    def number(self, tensor: str) -> int:
        """The one value of a tensor."""
        return int(self.model[f"{self.name}.{tensor}"][0])

    def by_head(self, part: str) -> NDArray[np.int8]:
        """A layer's weights by head, int8 [heads, inputs, outputs]; attn1 and attn2 have one."""
        weight = self.model[f"{self.name}.{part}.weight"]
        heads = 1 if part.startswith("attn") else self.shape.heads
        outputs = self.model[f"{self.name}.{part}.bias"].size // heads
        return weight.reshape(heads, -1, outputs)

    def blocks(
        self, part: str, tensor: str, weight: NDArray[np.int8], wide: bool = False
    ) -> Iterator[Block]:
        """Column blocks of a layer of all heads; each takes the inputs of the heads it touches.

        weight : int8 [heads, inputs, outputs]
        """
        heads, inputs, outputs = weight.shape
        full = np.zeros((heads, inputs, heads, outputs), np.int8)
        full[np.arange(heads), :, np.arange(heads)] = weight
        full = full.reshape(heads * inputs, heads * outputs)
        factors = [
            self.model[f"{self.name}.{part}.{kind}"].astype(np.int64).reshape(-1)
            for kind in ("bias", "mult", "shift")
        ]
        for start in range(0, heads * outputs, self.lanes):
            stop = min(start + self.lanes, heads * outputs)
            first = start // outputs * inputs // self.lanes * self.lanes
            behind = words(stop, outputs) * inputs
            pad = (0, self.lanes - (stop - start))
            addend, multiplier, shift = (np.pad(values[start:stop], pad) for values in factors)
            view = TensorPart(
                pc=0,
                memory="row" if part == "global" else "token",
                words=2 if wide else 1,
                bits=16 if wide else 8,
                rows=self.shape.patches if part == "global" else self.shape.tokens,
                channel=start,
                count=stop - start,
            )
            yield Block(
                weight=np.pad(full[first:behind, start:stop], ((0, 0), pad)),
                addend=addend,
                multiplier=multiplier,
                shift=shift,
                columns=stop - start,
                word=start // self.lanes * (2 if wide else 1),
                views=((f"{self.name}.{tensor}", view),),
                first_input=first,
            )

    def linear(
        self,
        part: str,
        role: Role,
        source: str,
        tensor: str = "",
        first_reader: bool = False,
    ) -> Linear:
        """A layer over all rows; keep and attn2 have int16 results, the others GELU."""
        wide = role in (Role.KEEP, Role.ATTEND2)
        tensor = tensor or part
        blocks = self.blocks(part, tensor, self.by_head(part), wide)
        return self.finished(
            Linear(
                name=f"{self.name}.{part}",
                role=role,
                source=source if source == "norm" else f"selector.{source}",
                target=f"selector.{tensor}",
                destination=Destination.WIDE if wide else Destination.TOKENS,
                blocks=tuple(blocks),
                first_reader=first_reader,
            ),
            "" if wide else part,
            "" if source == "norm" else source,
        )

    def finished(self, layer: Linear, act: str, source: str) -> Linear:
        """A layer with the activation `act`, if any, and the zero point of `source`."""
        if source:
            layer = replace(layer, zero_point=self.number(f"{source}.act.zero_point"))
        if not act:
            return layer
        return replace(
            layer,
            activation=Activation.GELU,
            activation_multiplier=self.number(f"{act}.act.mult"),
            activation_shift=self.number(f"{act}.act.shift"),
            activation_zero_point=self.number(f"{act}.act.zero_point"),
        )

    def means(self) -> Iterator[Layer]:
        """For each word of global: its rows, and their mean."""
        blocks = list(self.blocks("global", "global", self.by_head("global")))
        for block in blocks:
            layer = Linear(
                name=f"{self.name}.global",
                role=Role.GLOBAL,
                source="norm",
                target="value",
                destination=Destination.ROWS,
                blocks=(replace(block, word=0),),
            )
            yield self.finished(layer, "local", "")
            ((_, view),) = block.views
            mean = replace(view, memory="token", rows=1)
            yield Mean(
                name=f"{self.name}.mean",
                word=block.word,
                columns=block.columns,
                output_multiplier=self.number("mean.mult"),
                output_shift=self.number("mean.shift"),
                last=block is blocks[-1],
                views=((f"{self.name}.mean", mean),),
                target="selector.mean",
            )

    def first_score(self) -> Iterator[Linear]:
        """score1, word by word: the sums of the mean's part, and all rows with them."""
        weight = self.by_head("score1")
        half = weight.shape[1] // 2
        local = list(self.blocks("score1", "score1", weight[:, :half]))
        for block, other in zip(
            local, self.blocks("score1", "score1", weight[:, half:]), strict=True
        ):
            sums = Linear(
                name=f"{self.name}.score1",
                role=Role.SUMS,
                source="selector.mean",
                target="selector.score1",
                destination=Destination.TOKENS,
                blocks=(replace(other, keeps=True, views=()),),
                first_reader=block is local[0],
            )
            yield self.finished(sums, "", "local")
            rows = Linear(
                name=f"{self.name}.score1",
                role=Role.SCORE1,
                source="selector.local",
                target="selector.score1",
                destination=Destination.TOKENS,
                blocks=(replace(block, adds=True),),
                last_word=block is local[-1],
            )
            yield self.finished(rows, "score1", "local")
