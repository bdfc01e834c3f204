"""Token tiles: the order of the layers when token memory does not hold all rows at once.

Two parts of the network are tiled, each only as far as it has to be:

- the patch layer: two tiles of patches in memory, one in use while the other is loaded;
- from proj to fc2: the hidden rows of one tile at a time, and all weights again for each tile.

If the residual stream does not fit beside that, the program spills: residual stream, normalised
tokens and context live in DRAM, and a tile's rows are on chip from proj to the next norm1 (for the
first encoder block, from the patches to norm1).

Attention needs all tokens and is never tiled. In an encoder block without attention norm2 is in the
place of norm1, and only fc1 and fc2 are tiled. Spilled, a tile stays on chip through such blocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from compiler.layers import Layer, Linear, Lowered, Norm, Role, Select
from compiler.packing import words
from spec.model_config import ModelConfig

__all__ = [
    "Step",
    "Tile",
    "Tiling",
    "balanced",
    "norms_in_turn",
    "patches_of",
    "steps",
    "tiles_behind",
]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """Rows first .. first + count - 1."""

    number: int
    first: int
    count: int
    final: bool
    """The last tile."""


Tiles = tuple[Tile, ...]
"""Empty: the part is not tiled."""


def balanced(rows: int, tiles: int) -> Tiles:
    """`rows` rows in `tiles` tiles that differ by one row at most, the larger ones first."""
    size, larger = divmod(rows, tiles)
    out, first = [], 0
    for number in range(tiles):
        count = size + (number < larger)
        out.append(Tile(number=number, first=first, count=count, final=number == tiles - 1))
        first += count
    return tuple(out)


def tiles_behind(rows: int, longest: int, expected: int) -> Tiles:
    """Tiles of `rows` rows of which a selection is expected to leave `expected`.

    The rows expected, and an eighth more, are balanced: a tile of few rows would load all weights
    for them. The tiles behind are seldom there, so they are long.

    longest : most rows of a tile
    """
    likely = min(rows, expected + words(expected, 8))
    ahead = [tile.count for tile in balanced(likely, words(likely, longest))]
    rest = rows - likely
    seldom = balanced(rest, words(rest, longest)) if rest else ()
    counts = ahead + [tile.count for tile in seldom]
    return tuple(
        Tile(number=n, first=sum(counts[:n]), count=count, final=n == len(counts) - 1)
        for n, count in enumerate(counts)
    )


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """What is tiled."""

    patches: Tiles = ()
    tokens: Tiles = ()
    skipped: tuple[int, ...] = ()
    """With tiles of tokens: encoder blocks without attention."""
    proj_whole: bool = False
    """Proj is not tiled: each of its column blocks is loaded once."""
    spilled: bool = False
    """Residual stream, normalised tokens and context live in DRAM; `tokens` tile the rest."""
    slices: Tiles = ()
    """Spilled, with selections: word pairs of residual rows, which are selected slice by slice."""
    behind: tuple[tuple[int, Tiles], ...] = ()
    """Spilled, with selections: other tiles of tokens from these encoder blocks on."""

    def tokens_at(self, block: int) -> Tiles:
        """The tiles of tokens in an encoder block."""
        return next((tiles for first, tiles in self.behind[::-1] if block >= first), self.tokens)

    def attentions(self, block: int) -> int:
        """Encoder blocks with attention before a block."""
        return block - sum(skipped < block for skipped in self.skipped)

    def describe(self) -> str:
        """One line a part."""
        lines = []
        first = "norm2" if self.proj_whole else "proj"
        tiled = "proj to next norm1" if self.spilled else f"{first} to fc2"
        for name, tiles, unit in (
            ("patch layer", self.patches, "patches"),
            (tiled, self.tokens, "tokens"),
        ):
            sizes = "+".join(str(tile.count) for tile in tiles)
            lines.append(f"{name:<13} {f'tiles of {sizes} {unit}' if tiles else 'whole'}")
        for block, tiles in self.behind:
            sizes = "+".join(str(tile.count) for tile in tiles)
            lines.append(f"{f'from block {block}':<13} tiles of {sizes} tokens")
        if self.slices:
            sizes = "+".join(str(2 * slice.count) for slice in self.slices)
            lines.append(f"{'selections':<13} slices of {sizes} words")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A layer, or one tile of it."""

    layer: Layer
    block: int
    """Encoder block; the last LayerNorm and the head have the number behind the last one."""
    tile: Tile | None = None
    first: bool = True
    """The first step of its layer."""
    last: bool = True
    """The last step of its layer."""
    follows: bool = True
    """LayerNorm: each row waits for its credit. False: all rows are there before the step."""
    once: bool = False
    """fc2: gives one credit for all rows; LayerNorm: takes it."""
    apart: bool = False
    """fc2: no norm2 of a tile says that the tile before is over, so the last but one says it."""
    following: Tile | None = None
    """Spilled: the tile that takes this one's place."""
    before: Tile | None = None
    """Spilled: the tile whose place this one takes."""


def steps(lowered: Lowered, tiling: Tiling) -> tuple[Step, ...]:
    """The program's order of layers.

    With tiles of tokens, norm1 of the next encoder block follows norm2 of the last tile, for all
    rows of the tiles before in one step, so that the credits of LayerNorm rows are taken in the
    order in which they are given; the rows of the last tile follow its fc2. If all of token memory
    that proj needs is there, proj may come before all tiles.

    From the first selection on a tile may have no rows, so what follows fc2 waits for all of it.
    """
    if tiling.spilled:
        return tuple(_spilled_steps(lowered, tiling))
    stages = lowered.model.config.stages
    return tuple(_steps(lowered.layers, tiling, stages[0].block if stages else None))


def patches_of(tile: Tile, prefix_tokens: int) -> Tile:
    """The patches of a tile of tokens: the first tokens are no patches."""
    own = tile.count - (0 if tile.first else prefix_tokens)
    return replace(tile, first=max(tile.first - prefix_tokens, 0), count=own)


def _spilled_steps(lowered: Lowered, tiling: Tiling) -> Iterator[Step]:
    """Tile by tile from the patches to norm1, and from proj to the next norm1.

    In the last encoder block the tile with the CLS row comes last, and stays. If the head reads the
    mean of the patches, the last LayerNorm is like a norm1 of one more encoder block.

    Before a selection the selector's LayerNorm is in the place of norm1. If there is none, norm1
    itself is; nobody reads what it writes then. norm1 follows the selection tile by tile.
    """
    patch, *layers = lowered.layers
    shape, ahead = lowered.model.config, _behind_skipped(layers, 0)
    block, norm, rest = ahead // 3, layers[ahead], layers[ahead + 1 :]
    for tile, following in zip_longest(tiling.tokens, tiling.tokens[1:]):
        yield _part(patch, 0, patches_of(tile, shape.prefix_tokens))
        for index, layer in enumerate(layers[:ahead]):
            yield _part(layer, index // 3, tile)
        yield replace(_part(norm, block, tile), following=following)
    position = 0
    while position < len(rest):
        layer = rest[position]
        if isinstance(layer, Linear) and layer.role == Role.PROJ:
            end = _behind_skipped(rest, position + 4)
            selected = isinstance(rest[end], Select)
            following = rest[end + selected]
            assert isinstance(following, Norm)
            stays = following.for_head and shape.pooling != "mean"
            tiles = tiling.tokens_at(block)
            order = (*tiles[1:], tiles[0]) if stays else tiles
            inside = rest[position:end] + ([] if stays else [following])
            for turn, tile in enumerate(order):
                mine = replace(tile, number=turn, final=turn == len(order) - 1)
                before = order[turn - 1] if turn else None
                behind = None if mine.final else order[turn + 1]
                for index, part in enumerate(inside):
                    step = _part(part, block + max(index - 1, 0) // 3, mine)
                    again = part is following and selected
                    last = step.last and not again
                    yield replace(step, last=last, before=before, following=behind)
            block += (end - position - 1) // 3
            position += len(inside) - selected
        elif isinstance(layer, Norm) and layer.behind_select:
            before = rest[position - 2]
            shared = isinstance(before, Linear) and before.role == Role.FC2
            for tile in tiling.tokens_at(block):
                step = replace(_part(layer, block, tile), follows=False)
                yield replace(step, first=step.first and not shared)
            position += 1
        else:
            yield Step(layer=layer, block=block)
            position += 1


def _behind_skipped(layers: Sequence[Layer], position: int) -> int:
    """The first layer behind those of the encoder blocks without attention that begin there."""
    while layers[position].name.endswith(".norm2"):
        position += 3
    return position


def norms_in_turn(shape: ModelConfig) -> int:
    """Spilled: LayerNorms that a tile goes through one after the other, at most.

    norm2 of a block, those of the blocks without attention behind it, and the next norm1.
    """
    (effort,) = shape.passes
    runs, run = [2], 1
    for block in range(shape.depth):
        run = run + 1 if block in effort.skipped else 2
        runs.append(run)
    return max(runs)


def _steps(layers: tuple[Layer, ...], tiling: Tiling, selected: int | None) -> Iterator[Step]:
    """All steps; `selected` is the first encoder block behind a selection."""
    block, position = 0, 0
    while position < len(layers):
        layer = layers[position]
        if isinstance(layer, Linear) and layer.role == Role.PATCH and tiling.patches:
            yield from (_part(layer, block, tile) for tile in tiling.patches)
        elif isinstance(layer, Linear) and layer.role in (Role.PROJ, Role.FC1) and tiling.tokens:
            attends = layer.role == Role.PROJ
            position += 4 if attends else 2
            mlp, following = layers[position - (4 if attends else 2) : position], layers[position]
            if attends and tiling.proj_whole:
                yield Step(layer=layer, block=block)
                mlp = mlp[1:]
            static = selected is None or block + 1 < selected
            if isinstance(following, Norm) and not following.for_head and static:
                apart = not attends or tiling.proj_whole
                yield from _tiled(mlp, following, block, tiling.tokens, apart)
            else:
                yield from _tiled(mlp, None, block, tiling.tokens)
                position -= 1
            block += 1
        else:
            behind = layers[position + 1] if position + 1 < len(layers) else None
            whole = isinstance(layer, Norm) and bool(tiling.tokens) and not layer.behind_select
            yield Step(layer=layer, block=block, once=whole or isinstance(behind, Select))
            if isinstance(layer, Linear) and layer.role == Role.FC2:
                block += 1
        position += 1


def _tiled(
    mlp: tuple[Layer, ...], following: Norm | None, block: int, tiles: Tiles, apart: bool = False
) -> Iterator[Step]:
    """Proj and norm2 (if tiled), fc1 and fc2 tile by tile, and the first norm of the next block.

    following : None if what follows waits for all rows
    apart : see `Step`
    """
    *before, fc1, fc2 = mlp
    for tile in tiles:
        for layer in before:
            yield _part(layer, block, tile)
        if tile.final and tile.first and following is not None:
            rows = Tile(number=0, first=0, count=tile.first, final=False)
            step = Step(layer=following, block=block + 1, tile=rows, last=False, follows=False)
            yield replace(step, once=apart)
        yield _part(fc1, block, tile)
        yield replace(_part(fc2, block, tile), once=following is None, apart=apart)
        if tile.final and following is not None:
            yield Step(layer=following, block=block + 1, tile=tile, first=not tile.first)


def _part(layer: Layer, block: int, tile: Tile) -> Step:
    return Step(layer=layer, block=block, tile=tile, first=not tile.number, last=tile.final)
