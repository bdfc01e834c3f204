"""The rows that the head reads, and the mean of the patches on a machine that has no such thing.

The last LayerNorm's rows lie without gaps, so that one layer can read two of them as one row. The
mean: word by word of the channels, a fully connected layer copies the patches' rows into row memory
(weights and factors of 1), and an attention with one query takes their mean: with a score
multiplier of 0 all logits are 0, so all probabilities are 255, whatever query and keys are.
"""

from dataclasses import replace

import numpy as np

from compiler.allocation import Allocation
from compiler.layers import Block, Layer, Linear, Mean, Norm, Role
from compiler.packing import words
from compiler.program import Schedule
from compiler.token_regions import Region
from spec.assembler import live_rows, rows
from spec.image import TensorPart
from spec.isa import Destination, Opcode, ScoreUse
from spec.model_file import Model, ModelConfig
from spec.semaphores import Semaphore

__all__ = ["add_mean", "copied_rows", "head_rows", "mean_layers", "normalized_once"]

NAME = "pool"
ONE = (1 << 15, 15)
"""Multiplier and shift that change nothing."""


def mean_layers(model: Model, lanes: int) -> list[Layer]:
    """For each word of channels: a copy of the patches' rows, and their mean."""
    channels = model.config.embed_dim
    layers: list[Layer] = []
    for word, start in enumerate(range(0, channels, lanes)):
        columns = min(lanes, channels - start)
        multiplier, shift = (np.where(np.arange(lanes) < columns, value, 0) for value in ONE)
        copy = Block(
            weight=np.eye(columns, lanes, dtype=np.int8),
            addend=np.zeros(lanes, np.int64),
            multiplier=multiplier,
            shift=shift,
            columns=columns,
            word=0,
            views=(),
        )
        part = TensorPart(pc=0, memory="token", rows=1, channel=start, count=columns)
        layers += [
            Linear(
                name=NAME,
                role=Role.POOL,
                source="norm",
                source_word=word,
                target="value",
                destination=Destination.ROWS,
                blocks=(copy,),
                first_reader=not word,
            ),
            Mean(
                name=NAME,
                word=word,
                columns=columns,
                output_multiplier=int(model[f"{NAME}.mult"][0]),
                output_shift=int(model[f"{NAME}.shift"][0]),
                last=start + lanes >= channels,
                views=((NAME, part),),
            ),
        ]
    return layers


def head_rows(
    shape: ModelConfig, residual: Region, normalised: Region, lanes: int
) -> tuple[Region, Region, dict[str, int]]:
    """Source, target and number of the last LayerNorm's rows, from regions of all tokens."""
    first, count = shape.head_rows.start, len(shape.head_rows)
    source = replace(residual, base=residual.base + first * residual.stride, rows=count)
    target = replace(normalised, stride=words(shape.embed_dim, lanes))
    target = replace(target, base=target.base + first * target.stride, rows=count)
    return source, target, live_rows(first) if shape.pooling == "mean" else rows(count)


def copied_rows(shape: ModelConfig, normalised: Region, lanes: int) -> Region:
    """The patches' rows, where `head_rows` says."""
    return head_rows(shape, normalised, normalised, lanes)[1]


def normalized_once(layer: Norm, shape: ModelConfig) -> set[Semaphore]:
    """The credit for all rows of a LayerNorm that are read as one; else it gives one a row."""
    distilled = layer.for_head and shape.pooling == "distilled"
    return {Semaphore.NORMALIZED} if distilled else set()


def add_mean(
    out: Schedule,
    layer: Mean,
    plan: Allocation,
    normalised: Region,
    target: Region,
    shape: ModelConfig,
    ends: set[Semaphore],
) -> None:
    """Append the attention that takes the mean of one word of channels.

    normalised : the region of the normalised rows
    target : of the mean
    ends : credits that the last one gives beside the head's
    """
    out.add(
        layer.name,
        Opcode.ATTENTION,
        {
            "query": copied_rows(shape, normalised, plan.config.lanes).base,
            "query_stride": 1,
            "key": plan.value_row,
            "value": plan.value_row,
            "head_words": 1,
            "head_dim": layer.columns,
            "first_lane": 0,
            "target": target.base + layer.word,
            "target_stride": 1,
            "queries": rows(1),
            "keys": live_rows(shape.prefix_tokens),
            "score_multiplier": 0,
            "score_shift": 0,
            "output_multiplier": layer.output_multiplier,
            "output_shift": layer.output_shift,
            "further_groups": 0,
            "scores": ScoreUse.NONE,
        },
        wait=[Semaphore.ARRAY_DONE],
        signal={Semaphore.ARRAY_DONE} | ends if layer.last else set(),
        views=layer.views,
    )
