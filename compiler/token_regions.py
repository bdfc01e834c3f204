"""Token memory: its regions, whole or in tiles.

Whole: normalised tokens have one region, the context of attention another. In tiles of tokens two
regions change their parts from attention to attention: one holds what norm1 wrote; the other the
context, then tile by tile norm2's rows in the place of the context's, and then the next
norm1's rows in the place of norm2's. The hidden rows of a tile lie over the first, over the queries
and over what is free between the two.

Spilled: in attention all normalised tokens, the queries and the context of one group of heads (and
of the one before, which is being stored); else the rows of a tile: its residual stream, one region
for context, norm2's and norm1's rows in turn, and its hidden rows. With selections also what a
selector reads and makes, and a slice of the residual stream of all tokens beside the two logits
that make a score.
"""

from collections.abc import Iterator
from dataclasses import replace

from compiler.errors import CompileError, need
from compiler.index_ring import ring_sizes, with_lists
from compiler.layers import Linear, Lowered, Role
from compiler.packing import words
from compiler.region_names import TURNS
from compiler.regions import Region, check_disjoint, end_of, place, rows_of
from compiler.selector import KEEP_STRIDE
from compiler.tiling import Tiling, balanced, tiles_behind
from spec.config import Config
from spec.isa import PARTIAL_WORDS

__all__ = ["Region", "place_tokens", "rows_of"]

PATCH_BUFFERS = 2
"""Tiles of patches in memory: one in use, one on its way."""
CONTEXT_BUFFERS = 2
"""Groups of heads whose context is in memory: one is written, one is being stored."""


def place_tokens(
    lowered: Lowered, config: Config, proj_whole: bool = False
) -> tuple[Tiling, dict[str, Region]]:
    """The smallest number of tiles that fits, and its regions; `CompileError` if none does.

    What need not be spilled is not. A ring of lists is as large as it can be for that.
    """
    least, *more = ring_sizes(lowered)

    def attempt(lists: int) -> tuple[Tiling, dict[str, Region]] | None:
        on_chip = _place_on_chip(lowered, config, proj_whole, lists)
        return on_chip or _place_spilled(lowered, config, lists)

    found = attempt(least)
    if found is None:
        raise _refusal(lowered, config, least)
    for larger in map(attempt, more):
        found = larger if larger and larger[0] == found[0] else found
    check_disjoint(found[1])
    return found


def _place_on_chip(
    lowered: Lowered, config: Config, proj_whole: bool, lists: int
) -> tuple[Tiling, dict[str, Region]] | None:
    """The smallest number of tiles with all of the residual stream in memory; None if none fits."""
    shape, available = lowered.model.config, config.token_words
    for count in range(1, shape.patches + 1):
        patches = balanced(shape.patches, count) if count > 1 else ()
        regions = with_lists(_patch_regions(lowered, Tiling(patches=patches)), lists)
        if end_of(place(regions)) <= available:
            break
    else:
        return None
    for count in range(1, shape.tokens + 1):
        tokens = balanced(shape.tokens, count) if count > 1 else ()
        tiling = Tiling(
            patches=patches,
            tokens=tokens,
            skipped=shape.passes[0].skipped if tokens else (),
            proj_whole=bool(tokens) and proj_whole,
        )
        kind = _tiled_regions if tiling.tokens else _whole_regions
        placed = place(with_lists(kind(lowered, tiling, config), lists))
        if end_of(placed) <= available:
            return tiling, placed
    return None


def _place_spilled(
    lowered: Lowered, config: Config, lists: int
) -> tuple[Tiling, dict[str, Region]] | None:
    """The smallest number of tiles with the residual stream in DRAM; None if none fits.

    With selections the smallest number of slices, too.
    """
    shape = lowered.model.config
    pairs = words(shape.embed_dim, config.lanes)
    for count in range(1, len(_smallest(lowered).tokens) + 1):
        tiling = Tiling(tokens=balanced(shape.tokens, count), spilled=True)
        longest = tiling.tokens[0].count
        for slices in range(1, pairs + 1) if shape.stages else (0,):
            tiling = replace(
                tiling,
                slices=balanced(pairs, slices) if slices else (),
                behind=tuple(
                    (stage.block, tiles_behind(shape.tokens, longest, stage.tokens))
                    for stage in shape.stages
                    if stage.tokens
                ),
            )
            placed = place(with_lists(_spilled_regions(lowered, tiling), lists))
            if end_of(placed) <= config.token_words:
                return tiling, placed
    return None


def _smallest(lowered: Lowered) -> Tiling:
    """The smallest tiles: the first has a patch, beside the tokens before the patches."""
    shape = lowered.model.config
    most = max(shape.tokens // (shape.prefix_tokens + 1), 1)
    return Tiling(tokens=balanced(shape.tokens, most), spilled=True)


def _need_selector(lowered: Lowered, config: Config, lists: int) -> None:
    """Refuse a selection that does not fit though the rest does, in the smallest tiles and slices.

    What a selector needs beside the rest is known only when all is in its place.
    """
    shape = lowered.model.config
    tiling = _smallest(lowered)
    without = with_lists(_spilled_regions(lowered, tiling, selections=False), lists)
    if end_of(place(without)) <= config.token_words:
        pairs = words(shape.embed_dim, config.lanes)
        tiling = replace(tiling, slices=balanced(pairs, pairs))
        placed = place(with_lists(_spilled_regions(lowered, tiling), lists))
        size = end_of(placed) * config.lanes
        where, available = f"blocks.{shape.stages[0].block}.selector", config.token_words
        what = "bytes of token memory"
        need(where, size, what, available * config.lanes, "token_words", config)


def _refusal(lowered: Lowered, config: Config, lists: int) -> CompileError:
    """The first thing that does not fit: whole, or in tiles of one row if that takes less."""
    shape, packing, lanes = lowered.model.config, lowered.packing, config.lanes
    if shape.stages:
        _need_selector(lowered, config, lists)
    n, dim_words = shape.tokens, words(shape.embed_dim, lanes)
    hidden = words(shape.mlp_dim, lanes)
    residual = 2 * n * dim_words
    patch_words = words(shape.patch_dim, lanes)
    result = sum(region.size for region in _head_regions(lowered))
    least = shape.prefix_tokens + 1
    means = n * dim_words if shape.pooling == "mean" else dim_words
    turn = n * max(dim_words, packing.context_words)
    query, context = n * packing.query_words, n * packing.context_words
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
        {
            "patch_embed": least * (3 * dim_words + patch_words),
            "blocks.0.attn": n * dim_words
            + (1 + min(CONTEXT_BUFFERS, len(packing.rounds))) * n * packing.query_words,
            "blocks.0.mlp.fc1": least
            * (2 * dim_words + max(dim_words, packing.context_words) + hidden),
            "head": means + result,
        },
    ]
    smallest = place(with_lists(_spilled_regions(lowered, _smallest(lowered)), lists))
    simplest = min(plans, key=lambda plan: max(plan.values()))
    sizes = {where: size + lists for where, size in simplest.items()}
    try:
        for where, size in {**sizes, "blocks.0": end_of(smallest)}.items():
            what, available = "bytes of token memory", config.token_words * lanes
            need(where, size * lanes, what, available, "token_words", config)
    except CompileError as error:
        return error
    return CompileError("internal error: no tile fits, and nothing is too large")


def _patch_regions(lowered: Lowered, tiling: Tiling) -> list[Region]:
    """The residual stream, in use everywhere, and the patches or the tiles' buffers."""
    shape, lanes = lowered.model.config, lowered.lanes
    rows = PATCH_BUFFERS * tiling.patches[0].count if tiling.patches else shape.patches
    whole = {"attention", "mlp", *SELECTION}
    turned = {f"{phase} {turn}" for phase in whole for turn in TURNS}
    everywhere = frozenset({"embed", "head"} | (turned if tiling.tokens else whole))
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
    n = shape.tokens
    busy = ("attention", "mlp", "head", "attend", "local")
    return [
        residual,
        region("norm", n, words(shape.embed_dim, lanes), *busy),
        patches,
        region("query", n, packing.query_words, "attention"),
        region("context", n, packing.context_words, "attention"),
        region("hidden", n, words(shape.mlp_dim, lanes), "mlp"),
        *_selector_regions(lowered),
        *_head_regions(lowered),
        *_sums(lowered, tiling),
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

    head = [["head"], []] if tiling.attentions(shape.depth) % 2 == 0 else [[], ["head"]]
    scored = [[f"{phase} {turn}" for phase in ("attend", "local")] for turn in TURNS]
    even = region("even", n, stride, *attention, "mlp odd", *head[0], *scored[0])
    odd = region("odd", n, stride, *attention, "mlp even", *head[1], *scored[1])
    return [
        *_patch_regions(lowered, tiling),
        even,
        replace(odd, base=max(config.token_words - odd.size, 0)),
        region("query", n, packing.query_words, *attention),
        region("hidden even", tile, hidden, "mlp even"),
        region("hidden odd", tile, hidden, "mlp odd"),
        *(
            replace(
                own,
                name=f"{own.name} {turn}",
                phases=frozenset(f"{phase} {turn}" for phase in own.phases),
            )
            for number, turn in enumerate(TURNS)
            if any(tiling.attentions(stage.block) % 2 == number for stage in shape.stages)
            for own in _selector_regions(lowered)
        ),
        *_head_regions(lowered),
        *_sums(lowered, tiling),
    ]


def _head_regions(lowered: Lowered) -> list[Region]:
    """One row each: the mean of the patches, if there is one, and the logits."""
    shape, lanes = lowered.model.config, lowered.lanes
    strides = {"result": 2 * words(shape.classes, lanes)}
    if shape.pooling == "mean":
        strides = {"pool": words(shape.embed_dim, lanes), **strides}
    phases = frozenset({"head"})
    return [
        Region(name=name, rows=1, stride=stride, phases=phases) for name, stride in strides.items()
    ]


SELECTION = ("attend", "local", "score1", "score2", "keep")
"""Phases of a token selector; SELECT belongs to the last."""
SCORED = ("selector.attend", "selector.keep")
"""What SELECT reads of it."""


def _selector_regions(lowered: Lowered) -> Iterator[Region]:
    """A token selector's tensors, each from its layer to the last one that reads it."""
    shape, lanes = lowered.model.config, lowered.lanes
    if not any(stage.rule == "selector" for stage in shape.stages):
        return
    _, half, quarter = (words(size * shape.heads, lanes) for size in shape.selector_dims)
    phases = {name: number for number, name in enumerate(SELECTION)}
    for name, rows, stride, first, last in (
        ("attend", shape.tokens, KEEP_STRIDE, "attend", "keep"),
        ("attn1", shape.tokens, words(shape.selector_hidden, lanes), "attend", "attend"),
        ("local", shape.tokens, half, "local", "score1"),
        ("mean", 1, half, "local", "score1"),
        ("score1", shape.tokens, half, "score1", "score2"),
        ("score2", shape.tokens, quarter, "score2", "keep"),
        ("keep", shape.tokens, KEEP_STRIDE, "keep", "keep"),
    ):
        during = SELECTION[phases[first] : phases[last] + 1]
        yield Region(name=f"selector.{name}", rows=rows, stride=stride, phases=frozenset(during))


def _spilled_regions(lowered: Lowered, tiling: Tiling, selections: bool = True) -> list[Region]:
    """Attention's, and those of a tile.

    The first tile's residual is loaded beside queries and context; the normalised tokens are dead.
    In a selection a slice of the residual stream of all tokens, and the logits that make scores.
    """
    shape, packing, lanes = lowered.model.config, lowered.packing, lowered.lanes
    n, tile, dim_words = shape.tokens, tiling.tokens[0].count, words(shape.embed_dim, lanes)

    def region(name: str, rows: int, stride: int, *phases: str) -> Region:
        return Region(name=name, rows=rows, stride=stride, phases=frozenset(phases))

    rows = max(dim_words, packing.context_words)
    buffers = n * min(CONTEXT_BUFFERS, len(packing.rounds))
    scored = ["attend", "local"] * bool(shape.stages)
    mean = ["head"] * (shape.pooling == "mean")
    ahead = ["embed"] * (0 in shape.passes[0].skipped)
    return [
        *(region("slice", n, 2 * part.count, "select") for part in tiling.slices[:1]),
        *(
            region(name, min(len(tiling.tokens), 2) * tile, stride, "select norm")
            for name, stride in (("left", 2 * dim_words), ("left rows", dim_words))
            if tiling.slices
        ),
        region("residual", tile, 2 * dim_words, "embed", "last head", "mlp"),
        region("tokens", n, dim_words, "attention", *mean, *scored),
        region("query", n, packing.query_words, "attention", "last head"),
        region("context", buffers, packing.query_words, "attention", "last head"),
        region("rows", tile, rows, "embed", "mlp", "head"),
        region("patches", tile, words(shape.patch_dim, lanes), "embed"),
        region("hidden", tile, words(shape.mlp_dim, lanes), "mlp", *ahead),
        *(
            replace(own, phases=own.phases | ({"select"} if own.name in SCORED else set()))
            for own in _selector_regions(lowered)
            if selections
        ),
        *_head_regions(lowered),
        *_sums(lowered, tiling),
    ]


_PHASES = {
    Role.PATCH: ("embed",),
    Role.QUERY: ("attention",),
    Role.KEY: ("attention",),
    Role.VALUE: ("attention",),
    Role.PROJ: ("attention", "mlp"),
    Role.FC1: ("mlp",),
    Role.FC2: ("mlp",),
    Role.POOL: ("head",),
    Role.HEAD: ("head",),
    Role.ATTEND1: ("attend",),
    Role.ATTEND2: ("attend",),
    Role.LOCAL: ("local",),
    Role.GLOBAL: ("local",),
    Role.SUMS: ("score1",),
    Role.SCORE1: ("score1",),
    Role.SCORE2: ("score2",),
    Role.KEEP: ("keep",),
}
"""When a layer works."""


def _sums(lowered: Lowered, tiling: Tiling) -> list[Region]:
    """The sums of layers in chunks: one region, if there are any."""
    tokens = lowered.model.config.tokens
    tile = tiling.tokens[0].count if tiling.tokens else tokens
    patches = tiling.patches[0].count if tiling.patches else tokens
    rows = dict.fromkeys(Role, tokens)
    rows |= {
        Role.PROJ: tokens if tiling.proj_whole else tile,
        Role.FC1: tile,
        Role.FC2: tile,
        Role.HEAD: 1,
        Role.SUMS: 1,
    }
    rows[Role.PATCH] = tile if tiling.spilled else patches
    chunked = [layer for layer in lowered.layers if isinstance(layer, Linear) and layer.chunked]
    if not chunked:
        return []
    phases = {phase for layer in chunked for phase in _PHASES[layer.role]}
    if tiling.spilled and 0 in lowered.model.config.passes[0].skipped:
        phases.add("embed")
    if tiling.tokens and not tiling.spilled:
        turned = {f"{phase} {turn}" for phase in phases for turn in TURNS}
        phases = phases | turned
    most = max(rows[layer.role] * max(block.groups for block in layer.blocks) for layer in chunked)
    return [Region(name="sums", rows=most, stride=PARTIAL_WORDS, phases=frozenset(phases))]
