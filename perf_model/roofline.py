"""The roofline of a model on a machine: its multiplications, or its compulsory bytes."""

from dataclasses import dataclass

from spec.config import Config
from spec.formats import REQUANTIZE, RESIDUAL
from spec.model_config import ModelConfig

__all__ = ["Roofline", "roofline"]


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """What one image takes at least."""

    macs: int
    """Multiplications of the dense network."""
    bytes: int
    """Every weight and table entry once, the position embedding, the patches, the logits."""
    mac_cycles: int
    bus_cycles: int

    @property
    def cycles(self) -> int:
        """The larger of the two bounds."""
        return max(self.mac_cycles, self.bus_cycles)


def roofline(model: ModelConfig, config: Config) -> Roofline:
    """max(MACs / MACs in the array, compulsory DRAM bytes / bus bytes a cycle), for one image.

    Counts what the network needs, not what a program moves: padding and repeated loads are not in
    it. Attention is counted over all tokens in every block. A mean of patches is additions, not
    multiplications: it is not counted.
    """
    tokens, width, inner = model.tokens, model.embed_dim, model.attention_dim
    layers = [(model.patch_dim, width, model.patches)]
    for _ in range(model.depth):
        layers += [
            (width, 3 * inner, tokens),
            (inner, width, tokens),
            (width, model.mlp_dim, tokens),
            (model.mlp_dim, width, tokens),
        ]
    layers.append((model.head_depth, model.classes, 1))
    attention = 2 * tokens * tokens * inner * model.depth
    macs = sum(rows * inputs * outputs for inputs, outputs, rows in layers) + attention
    weights = sum(outputs * (inputs + REQUANTIZE.entry_bytes) for inputs, outputs, _ in layers)
    norms = (2 * model.depth + 1) * width * REQUANTIZE.entry_bytes
    residual_bytes = RESIDUAL.bits // 8
    position = tokens * width * residual_bytes
    patches = model.patches * model.patch_dim
    total = weights + norms + position + patches + model.classes * residual_bytes
    return Roofline(
        macs=macs,
        bytes=total,
        mac_cycles=-(-macs // config.macs),
        bus_cycles=-(-total // config.bus_bytes),
    )
