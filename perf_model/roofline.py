"""The roofline of a model on a machine: its multiplications, or its compulsory bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from spec.config import Config
from spec.efforts import Effort
from spec.formats import REQUANTIZE, RESIDUAL
from spec.model_config import ModelConfig

__all__ = ["Roofline", "network_macs", "roofline"]


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """What one image takes at least."""

    macs: int
    """Multiplications of the network, those of token selectors among them."""
    bytes: int
    """Every weight and table entry once, the position embedding, the patches, the logits."""
    mac_cycles: int
    bus_cycles: int

    @property
    def cycles(self) -> int:
        """The larger of the two bounds."""
        return max(self.mac_cycles, self.bus_cycles)


def roofline(
    model: ModelConfig, config: Config, live: Sequence[int] = (), skipped: int = 0
) -> Roofline:
    """max(MACs / MACs in the array, compulsory DRAM bytes / bus bytes a cycle), for one image.

    Of a model of several efforts it is that of all of them, one after the other.
    Counts what the network needs, not what a program moves: padding and repeated loads are not in
    it. Attention is counted over all tokens in every block. A mean of rows is additions, not
    multiplications: it is not counted.
    live : see `network_macs`
    skipped : multiplications that masks and zeros leave out, and so are not needed
    """
    macs, layers = _network(model, live)
    macs -= skipped
    passes = len(model.passes)
    width = model.embed_dim
    weights = sum(outputs * (inputs + REQUANTIZE.entry_bytes) for inputs, outputs, _ in layers)
    attentions = passes * model.depth - sum(len(effort.skipped) for effort in model.passes)
    norms = (passes * (model.depth + 1) + attentions) * width * REQUANTIZE.entry_bytes
    residual_bytes = RESIDUAL.bits // 8
    position = model.tokens * width * residual_bytes
    patches = model.patches * model.patch_dim
    total = weights + norms + passes * (position + patches + model.classes * residual_bytes)
    return Roofline(
        macs=macs,
        bytes=total,
        mac_cycles=-(-macs // config.macs),
        bus_cycles=-(-total // config.bus_bytes),
    )


def network_macs(model: ModelConfig, live: Sequence[int] = ()) -> int:
    """Multiplications of the network for one image, those of token selectors among them.

    live : tokens behind each of the first stages, effort after effort; behind the others as many as
        before
    """
    macs, _ = _network(model, live)
    return macs


def _network(model: ModelConfig, live: Sequence[int]) -> tuple[int, list[tuple[int, int, int]]]:
    """All multiplications; and inputs, outputs and rows of every fully connected layer."""
    layers: list[tuple[int, int, int]] = []
    scores = 0
    for number, effort in enumerate(model.passes):
        before = number * len(model.stages)
        more, own = _pass(model, effort, live[before : before + len(model.stages)])
        scores, layers = scores + more, layers + own
    return scores + sum(rows * inputs * outputs for inputs, outputs, rows in layers), layers


def _pass(
    model: ModelConfig, effort: Effort, live: Sequence[int]
) -> tuple[int, list[tuple[int, int, int]]]:
    """Of one effort: multiplications of scores and P.V, and its fully connected layers."""
    tokens, width, inner = model.tokens, model.embed_dim, model.attention_dim
    stages = {stage.block: number for number, stage in enumerate(model.stages)}
    layers = [(model.patch_dim, width, model.patches)]
    macs = 0
    for block in range(model.depth):
        if block in stages:
            if model.stages[stages[block]].rule == "selector":
                layers += _selector(model, tokens)
            if stages[block] < len(live):
                tokens = live[stages[block]]
        if block not in effort.skipped:
            layers += [(width, 3 * inner, tokens), (inner, width, tokens)]
            macs += 2 * tokens * tokens * inner
        layers += [(width, model.mlp_dim, tokens), (model.mlp_dim, width, tokens)]
    layers.append((model.head_depth, model.classes, 1))
    return macs, layers


def _selector(model: ModelConfig, tokens: int) -> list[tuple[int, int, int]]:
    """Inputs, outputs and rows of a token selector's layers; the heads' own as often as they are.

    Of the second layer's inputs those of the mean are the same for all rows: one row of them.
    """
    full, half, quarter = model.selector_dims
    behind = tokens - model.prefix_tokens
    heads = [(full, half, tokens), (full, half, behind), (half, half, tokens), (half, half, 1)]
    heads += [(half, quarter, tokens), (quarter, 1, tokens)]
    hidden = model.selector_hidden
    return heads * model.heads + [
        (model.embed_dim, hidden, tokens),
        (hidden, model.heads, tokens),
    ]
