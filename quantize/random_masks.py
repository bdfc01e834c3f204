"""Masks that no training made: ViTCoD's published one for DeiT-T, and random ones of any shape."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from spec.model_config import ModelConfig

__all__ = ["VITCOD_FILE", "published_masks", "random_masks"]

VITCOD_FILE = Path(__file__).resolve().parent.parent / "models/masks/vitcod_deit_tiny_95.npz"
"""GATECH-EIC/ViTCoD, Apache-2.0: see THIRD_PARTY.md."""
MOST_GLOBAL = 4
"""Global patches of a head, at most."""
LIKED_STD = 0.5
REACH_PATCHES = 2.0
"""Distance on the grid of patches over which a key's weight falls by e."""

Masks = NDArray[np.bool_]


def published_masks(config: ModelConfig, path: Path = VITCOD_FILE) -> Masks:
    """ViTCoD's masks of DeiT-T, for the blocks that the model has.

    result : bool [depth, heads, queries, keys], true where kept
    """
    with np.load(path) as file:
        _, heads, tokens, _ = shape = file["shape"].tolist()
        kept = np.unpackbits(file["keep"], axis=-1, count=tokens).reshape(shape).astype(bool)
    if (config.heads, config.tokens) != (heads, tokens) or config.depth > len(kept):
        raise QuantizeError(
            f"the published masks are of {len(kept)} blocks, {heads} heads and {tokens} tokens; "
            f"the model has {config.depth}, {config.heads} and {config.tokens}"
        )
    return kept[: config.depth]


def random_masks(config: ModelConfig, sparsity: float, seed: int = 0) -> Masks:
    """Masks in which every head keeps the same number of scores, for measurements of speed.

    The rows and columns of the prefix tokens are kept, and the columns of 0..4 random patches. The
    other scores have weights: Gumbel noise, a normal one of std 0.5 for each key (some are liked by
    all), and less by 1 for every 2 patches between query and key on the grid. The largest are kept,
    over the whole head, until `sparsity` of all scores is left out.
    result : bool [depth, heads, queries, keys], true where kept
    """
    tokens, prefix = config.tokens, config.prefix_tokens
    wanted = round((1 - sparsity) * tokens**2)
    least = tokens**2 - (tokens - prefix) ** 2 + MOST_GLOBAL * (tokens - prefix)
    if not least <= wanted <= tokens**2:
        most = 1 - least / tokens**2
        raise QuantizeError(f"a random mask's sparsity must lie in 0..{most:.3f}, not {sparsity:g}")
    side = config.image_size // config.patch_size
    grid = np.stack(np.divmod(np.arange(config.patches), side), axis=-1)
    distance = np.sqrt(np.square(grid[:, None] - grid[None]).sum(axis=-1))
    kept = np.zeros((config.depth, config.heads, tokens, tokens), np.bool_)
    for block, head in np.ndindex(config.depth, config.heads):
        # A stream of its own for each head: another depth leaves the others alone.
        digest = hashlib.sha256(f"{seed} mask {block} {head}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        weight = np.full((tokens, tokens), np.inf)
        liked = rng.normal(0, LIKED_STD, config.patches)
        near = rng.gumbel(size=distance.shape) + liked - distance / REACH_PATCHES
        chosen = rng.choice(config.patches, rng.integers(0, MOST_GLOBAL + 1), replace=False)
        near[:, chosen] = np.inf
        weight[prefix:, prefix:] = near
        order = np.argsort(-weight, axis=None, kind="stable")
        kept[block, head].flat[order[:wanted]] = True
    return kept
