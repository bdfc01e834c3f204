"""What the array may drop, added to the network's layers: thresholds, zeros, kept scores."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError, need
from compiler.layers import Attention, Head, Layer, Linear, Role
from compiler.mask_lists import (
    MAX_GROUPS,
    ListError,
    Places,
    encode_list,
    encode_places,
    place_keys,
)
from compiler.packing import HeadPacking, words
from spec.config import Config
from spec.isa import LOAD_TOKENS
from spec.model_file import Model

__all__ = ["key_groups", "sieved"]

MAX_LIST_WORDS = 2 * ((1 << LOAD_TOKENS["rows"].width) - 1)
"""A long list is loaded as many rows of two words."""
THRESHOLD_OF = {
    Role.QUERY: "q",
    Role.KEY: "k",
    Role.VALUE: "v",
    Role.PROJ: "proj",
    Role.FC1: "fc1",
    Role.FC2: "fc2",
}
"""The threshold of a layer's results. Layers outside of encoder blocks have none."""
IN_LIST_ORDER = (".attn.logits", ".attn.probs")
"""Tensors that no instruction writes row by row where lists say which scores there are."""


@dataclass(frozen=True, kw_only=True)
class GroupMask:
    """Kept scores of the heads that share words."""

    places: Places
    positions: NDArray[np.uint8]
    lists: tuple[NDArray[np.uint8], ...]
    """Of each head."""


def sieved(
    layers: list[Layer], model: Model, config: Config, packing: HeadPacking, replicated: int
) -> tuple[Layer, ...]:
    """The layers with their thresholds, lists and places, and with the zeros that they skip.

    replicated : keys that may lie in all banks

    Raises `CompileError` for a machine that does not have what the model needs.
    """
    _check(model, config)
    masks = {
        block: _group_masks(model, config, packing, block, replicated)
        for block in _attending(model)
        if model.config.masked(block)
    }
    whole = bool((packing.context_channels() >= 0).all())
    return tuple(_sieved(layers, model, config, masks, whole))


def key_groups(layers: tuple[Layer, ...], tokens: int, banks: int) -> int:
    """Places that keys (and values) take in a bank: in the order of the tokens, or by lists."""
    placed = (layer.places.groups for layer in layers if isinstance(layer, Linear) and layer.places)
    return max(words(tokens, banks), *placed, 0)


def _attending(model: Model) -> list[int]:
    """Encoder blocks with attention, of a model of one effort."""
    (effort,) = model.config.passes
    return [block for block in range(model.config.depth) if block not in effort.skipped]


def _check(model: Model, config: Config) -> None:
    shape = model.config
    wanted, attending = [], _attending(model)
    for block in range(shape.depth):
        if any(model.thresholds(block).values()):
            wanted.append((f"blocks.{block}.thresholds", "thresholds", ""))
        if block in attending and shape.masked(block):
            alone = ", head_groups=1" if config.head_groups > 1 else ""
            wanted.append((f"blocks.{block}.attn.mask", "attention_masks", alone))
    for where, parameter, more in wanted:
        if not getattr(config, parameter):
            raise CompileError(
                f"{where}: needs {parameter}, preset '{config.name}' has none "
                f"({parameter}=on{more})"
            )
    for stage in shape.stages:
        before = stage.block - 1
        limit = model.thresholds(before)["probs"]
        if stage.rule == "cls_attention" and limit:
            raise CompileError(
                f"blocks.{before}.thresholds: probs must be 0, not {limit}: rule cls_attention "
                f"before block {stage.block} needs all probabilities of the block before"
            )


def _sieved(
    layers: list[Layer],
    model: Model,
    config: Config,
    masks: Mapping[int, tuple[GroupMask, ...]],
    whole: bool,
) -> Iterator[Layer]:
    """Layer by layer; `whole`: heads fill the words of the context."""
    block, group = -1, 0
    limits: Mapping[str, int] = {}
    for layer in layers:
        if not isinstance(layer, Attention) and (
            not isinstance(layer, Linear) or layer.role not in THRESHOLD_OF
        ):
            yield layer
            continue
        own = int(layer.name.split(".")[1])
        if own != block:
            block, group, limits = own, 0, model.thresholds(own)
        # proj and the MLP follow the last group
        own_masks = masks.get(block, ())
        mask = own_masks[group] if group < len(own_masks) else None
        if isinstance(layer, Attention):
            yield _attention(layer, limits, mask, config)
            group += 1
        else:
            yield _linear(layer, limits, mask, config, whole)


def _linear(
    layer: Linear,
    limits: Mapping[str, int],
    mask: GroupMask | None,
    config: Config,
    whole: bool,
) -> Linear:
    zeros = {
        # lanes beside the heads are never written: what they hold must not cost steps
        Role.PROJ: limits["context"] > 0 and whole,
        Role.FC2: limits["fc1"] > 0 or layer.reads_relu,
    }
    placed = mask is not None and layer.role in (Role.KEY, Role.VALUE)
    return replace(
        layer,
        threshold=limits[THRESHOLD_OF[layer.role]],
        skip_zeros=config.zero_skip and zeros.get(layer.role, False),
        places=mask.places if mask and placed else None,
        positions=mask.positions if mask and placed else None,
    )


def _attention(
    layer: Attention, limits: Mapping[str, int], mask: GroupMask | None, config: Config
) -> Attention:
    heads = layer.heads
    if mask:
        heads = tuple(_masked(head, own) for head, own in zip(heads, mask.lists, strict=True))
    skips = config.zero_skip and config.head_groups == 1
    return replace(
        layer,
        heads=heads,
        score_threshold=limits["scores"],
        prob_threshold=limits["probs"],
        context_threshold=limits["context"],
        skip_zeros=skips and (mask is not None or limits["probs"] > 0),
    )


def _masked(head: Head, own: NDArray[np.uint8]) -> Head:
    views = tuple(view for view in head.views if not view[0].endswith(IN_LIST_ORDER))
    return replace(head, lists=own, views=views)


def _group_masks(
    model: Model, config: Config, packing: HeadPacking, block: int, replicated: int
) -> tuple[GroupMask, ...]:
    """Lists and places of a block, for each group of heads; package tokens attend to all."""
    where, packages = f"blocks.{block}.attn.mask", model.config.package_tokens(block)
    kept = np.pad(
        model.kept_scores(block),
        ((0, 0), (0, packages), (0, packages)),
        constant_values=True,
    )
    most = min(config.score_words, config.prob_words)
    out = []
    for group in range(packing.groups):
        heads = packing.heads_of(group)
        try:
            places = place_keys(kept[heads.start : heads.stop], config.banks, packages, replicated)
        except ListError as error:
            what = f"places of keys in a bank for {error}"
            need(where, error.needed, what, MAX_GROUPS, f"banks {config.banks}")
            raise
        lists = []
        for head in heads:
            try:
                own = encode_list(kept[head], places, config.banks, config.lanes, most)
            except ListError as error:
                at = f"{where}: head {head}, {error}"
                what = "steps of kept scores for a pair"
                need(at, error.needed, what, most, "score_words and prob_words", config)
                raise
            length, what = len(own) // config.lanes, "words of lists"
            need(f"{where}: head {head}", length, what, MAX_LIST_WORDS, "rows of LOAD_TOKENS")
            lists.append(own)
        positions = encode_places(places, config.lanes)
        out.append(GroupMask(places=places, positions=positions, lists=tuple(lists)))
    return tuple(out)
