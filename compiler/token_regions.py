"""Token memory: its regions, whole or in tiles.

Whole: normalised tokens have one region, the context of attention another. In tiles of tokens two
regions change their parts from encoder block to encoder block: one holds what norm1 wrote; the
other the context, then tile by tile norm2's rows in the place of the context's, and then the next
norm1's rows in the place of norm2's. The hidden rows of a tile lie over the first, over the queries
and over what is free between the two.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from compiler.errors import CompileError, need
from compiler.layers import Lowered
from compiler.packing import words
from compiler.tiling import Tiling, balanced
from spec.config import Config

__all__ = ["Region", "place_tokens", "region_name"]

PATCH_BUFFERS = 2
"""Tiles of patches in memory: one in use, one on its way."""
TURNS = ("even", "odd")
"""Regions of normalised tokens and of the context, in tiles of tokens."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """Rows of `stride` words each in token memory, in use during `phases`."""

    name: str
    rows: int
    stride: int
    phases: frozenset[str]
    base: int = 0

    @property
    def size(self) -> int:
        """Words."""
        return self.rows * self.stride

    @property
    def end(self) -> int:
        """First word behind it."""
        return self.base + self.size


def region_name(name: str, block: int, mlp: bool, tiling: Tiling) -> str:
    """The region that holds `norm`, `context` or another tensor in an encoder block.

    mlp : norm2's rows, not norm1's
    """
    if not tiling.tokens or name not in ("norm", "context", "hidden"):
        return name
    if name == "hidden":
        return f"hidden {TURNS[block % 2]}"
    return TURNS[(block + (mlp or name == "context")) % 2]


def place_tokens(lowered: Lowered, config: Config) -> tuple[Tiling, dict[str, Region]]:
    """The smallest number of tiles that fits, and its regions; `CompileError` if none does."""
    shape, available = lowered.model.config, config.token_words
    for count in range(1, shape.patches + 1):
        patches = balanced(shape.patches, count) if count > 1 else ()
        if _end(_place(_patch_regions(lowered, Tiling(patches=patches)))) <= available:
            break
    else:
        raise _refusal(lowered, config)
    for count in range(1, shape.tokens + 1):
        tiling = Tiling(patches=patches, tokens=balanced(shape.tokens, count) if count > 1 else ())
        kind = _tiled_regions if tiling.tokens else _whole_regions
        placed = _place(kind(lowered, tiling, config))
        if _end(placed) <= available:
            _check_disjoint(placed)
            return tiling, placed
    raise _refusal(lowered, config)


def _refusal(lowered: Lowered, config: Config) -> CompileError:
    """The first thing that does not fit: whole, or in tiles of one row if that takes less."""
    shape, packing, lanes = lowered.model.config, lowered.packing, config.lanes
    n, dim_words = shape.tokens, words(shape.embed_dim, lanes)
    hidden = words(shape.mlp_dim, lanes)
    residual = 2 * n * dim_words
    patch_words, result = words(shape.patch_dim, lanes), 2 * words(shape.classes, lanes)
    turn = n * max(dim_words, packing.context_words)
    query, context = n * packing.head_words, n * packing.context_words
    embed = {
        "embed.position": residual,
        "patch_embed": residual + patch_words * min(PATCH_BUFFERS, shape.patches),
    }
    plans = [
        {
            **embed,
            "blocks.0.attn": residual + n * dim_words + query + context,
            "blocks.0.mlp.fc1": residual + n * (dim_words + hidden),
            "head": residual + n * dim_words + result,
        },
        {
            **embed,
            "blocks.0.attn": residual + 2 * turn + query,
            "blocks.0.mlp.fc1": residual + turn + hidden,
            "head": residual + turn + result,
        },
    ]
    try:
        for where, words_needed in min(plans, key=lambda plan: max(plan.values())).items():
            available = config.token_words * lanes
            needed = words_needed * lanes
            need(where, needed, "bytes of token memory", available, "token_words", config)
    except CompileError as error:
        return error
    return CompileError("internal error: no tile fits, and nothing is too large")


def _patch_regions(lowered: Lowered, tiling: Tiling) -> list[Region]:
    """The residual stream, in use everywhere, and the patches or the tiles' buffers."""
    shape, lanes = lowered.model.config, lowered.lanes
    rows = PATCH_BUFFERS * tiling.patches[0].count if tiling.patches else shape.patches
    everywhere = frozenset(
        {"embed", "attention", "mlp", "head"}
        | {f"{phase} {turn}" for phase in ("attention", "mlp") for turn in TURNS}
    )
    stride = 2 * words(shape.embed_dim, lanes)
    patch_words = words(shape.patch_dim, lanes)
    return [
        Region(name="residual", rows=shape.tokens, stride=stride, phases=everywhere),
        Region(name="patches", rows=rows, stride=patch_words, phases=frozenset({"embed"})),
    ]


def _whole_regions(lowered: Lowered, tiling: Tiling, config: Config) -> list[Region]:
    """Everything at once; patches and normalised tokens are dead before the others' writes."""
    shape, packing, lanes = lowered.model.config, lowered.packing, config.lanes

    def region(name: str, rows: int, stride: int, *phases: str) -> Region:
        return Region(name=name, rows=rows, stride=stride, phases=frozenset(phases))

    residual, patches = _patch_regions(lowered, tiling)
    residual = replace(residual, phases=frozenset({"embed", "attention", "mlp", "head"}))
    n = shape.tokens
    return [
        residual,
        region("norm", n, words(shape.embed_dim, lanes), "attention", "mlp", "head"),
        patches,
        region("query", n, packing.head_words, "attention"),
        region("context", n, packing.context_words, "attention"),
        region("hidden", n, words(shape.mlp_dim, lanes), "mlp"),
        region("result", 1, 2 * words(shape.classes, lanes), "head"),
    ]


def _tiled_regions(lowered: Lowered, tiling: Tiling, config: Config) -> list[Region]:
    """In tiles of tokens; the second of the two regions lies at the end of the memory."""
    shape, packing, lanes = lowered.model.config, lowered.packing, config.lanes
    stride = max(words(shape.embed_dim, lanes), packing.context_words)
    hidden = words(shape.mlp_dim, lanes)
    n, tile = shape.tokens, tiling.tokens[0].count
    attention = [f"attention {turn}" for turn in TURNS]

    def region(name: str, rows: int, stride: int, *phases: str) -> Region:
        return Region(name=name, rows=rows, stride=stride, phases=frozenset(phases))

    head = [["head"], []] if shape.depth % 2 == 0 else [[], ["head"]]
    even = region("even", n, stride, *attention, "mlp odd", *head[0])
    odd = region("odd", n, stride, *attention, "mlp even", *head[1])
    return [
        *_patch_regions(lowered, tiling),
        even,
        replace(odd, base=max(config.token_words - odd.size, 0)),
        region("query", n, packing.head_words, *attention),
        region("hidden even", tile, hidden, "mlp even"),
        region("hidden odd", tile, hidden, "mlp odd"),
        region("result", 1, 2 * words(shape.classes, lanes), "head"),
    ]


def _place(regions: Iterable[Region]) -> dict[str, Region]:
    """First fit, from each region's base on: two share words only if never in use together."""
    placed: dict[str, Region] = {}
    for region in regions:
        base = region.base
        for other in sorted(placed.values(), key=lambda item: item.base):
            if (
                region.phases & other.phases
                and base < other.end
                and other.base < base + region.size
            ):
                base = other.end
        placed[region.name] = replace(region, base=base)
    return placed


def _end(placed: dict[str, Region]) -> int:
    return max(region.end for region in placed.values())


def _check_disjoint(regions: dict[str, Region]) -> None:
    for a in regions.values():
        for b in regions.values():
            if a is not b and a.phases & b.phases and a.base < b.end and b.base < a.end:
                raise CompileError(f"internal error: regions {a.name} and {b.name} overlap")
