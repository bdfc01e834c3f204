"""The credits that order the four queues of a program.

An instruction waits only for instructions before it in the program, so with queues in order no
queue depth can make it stop. Why every access is ordered (t is a token row):

- Read after write within the array queue: ARRAY_DONE. V's last block -> a group's first head (Q
  and K retired before V, in order); the last head, row by row -> proj; fc1's last block, row by
  row -> fc2. Blocks before the one that gives the credit have retired by then, in order.
- Write after read within the array queue needs nothing: an instruction's operands are read before
  its own results, and results are written in program order. So one Q, K and V region serve all
  groups, and the hidden region may lie over Q and the context.
- The residual row t: proj and fc2 give RESIDUAL_READY with their last block's row t, LayerNorm
  takes it. fc2 writes row t only after fc1's row t (ARRAY_DONE), which needs norm2's row t
  (NORMALIZED), which LayerNorm gives when it has read and written all of row t; proj likewise
  through Q, K, V and attention, all rows of which it follows.
- The normalised tokens have one region. norm2 overwrites norm1's row t after proj's last block of
  row t: Q, K and V have read all rows by then. The next norm1 comes after fc2's last block of row
  t: all of fc1 has retired. The first norm1 follows the whole patch layer (RESIDUAL_READY for the
  instruction: the CLS row has no patch), so the patches may lie under it. The last LayerNorm
  takes one credit for all of fc2. The head takes its one row's credit, or, when it reads two rows
  as one, one that the whole LayerNorm gives.
- The mean of the patches: the pool layer takes NORMALIZED row by row for the first word, and gives
  ARRAY_DONE to the attention that follows, as V does; the last one gives it to the head.
- A block's weights and table: WEIGHTS_READY one a load; WEIGHTS_FREE as `ring` plans it. Where the
  ring shares the words of keys and values, the last attention of an encoder block gives a credit
  too, and no block that is used between the first K and that attention lies there.
- LayerNorm tables: NORM_TABLE_READY one a load; with S slots load i takes the NORM_TABLE_FREE that
  LayerNorm i - S gives.

In tiles of tokens (`tiling` has the order, `token_regions` the places):

- The last attention gives one ARRAY_DONE, which the first tile's proj takes; the other tiles
  follow it in order. Within a tile fc1's last block and fc2 follow each other row by row as above.
- If proj is not tiled, the last attention gives its rows one by one, and the last tile's norm2 says
  nothing of the other tiles' fc2: the last but one gives one RESIDUAL_READY, which norm1 of the
  tiles before takes.
- norm2 writes row t in the place of the context's row t: proj's last block of the tile has read it.
- RESIDUAL_READY: proj of each tile gives its rows to norm2; of fc2 only the last tile's gives them,
  to norm1. The rows of the tiles before need none: norm1 takes them behind the last tile's norm2,
  which has had credits of that tile's proj, and that follows their fc2.
- NORMALIZED is therefore given, and taken, for norm2 of all tiles and then for norm1 of all rows.
- norm1 writes row t in the place of norm2's row t: fc1 of its tile has retired before that tile's
  fc2 ends. The hidden rows never lie over the region that norm1 writes.
- A norm2 in the place of norm1 (an encoder block without attention) is as norm1: for all rows. fc1
  and fc2 are tiled, and the next norm takes a RESIDUAL_READY for the tiles before as behind a proj
  that is not tiled. It writes where it read: `Tiling.attentions` counts whose turn a region is.
- Patches: TOKENS_READY and the position embedding before it, row by row; a tile's buffer is loaded
  again when TOKENS_FREE says that the whole layer has used it.

Lists of kept scores and places of keys (`index_ring`): TOKENS_READY one a load, TOKENS_FREE as
their ring plans it. Places are read by the K and V behind the load, a list by its attention.

With selections (`selector` has their layers):

- The selector's LayerNorm takes RESIDUAL_READY as norm1 would, and gives NORMALIZED to attn1; local
  and global read the same rows, in order behind it. ARRAY_DONE: attn1, score1 and score2, row by
  row, to attn2, score2 and keep; each word of global to its mean, and the last mean to the first
  sums of score1. All of local has retired by then.
- keep gives one RESIDUAL_READY to SELECT: all that it reads, and every earlier instruction of the
  array, is over then. If the attention of CLS makes the scores, fc2 gives it, for all rows at once.
- SELECT begins when the LayerNorm before it is over, and norm1 when SELECT is: the vector queue
  does one at a time around it. So norm1 takes no RESIDUAL_READY.
- LIVE_READY goes from SELECT to the first Q, the first instruction of the array behind it. All that
  follow in the array and in the vector queue find the new number of live tokens.
- In tiles: LIVE_KNOWN goes from SELECT to the first load behind it that depends on that number. A
  tile may have no rows; it takes and gives its whole credits, and none by row. So from the first
  selection on fc2 of the last tile gives one RESIDUAL_READY, and the LayerNorm that follows takes
  it for all rows.

No credit is left over at HALT; `verification` counts them. `tests/compiler/ordering.py` proves the
order of every access from the credits alone.
"""

from compiler.layers import Linear, Role
from compiler.tiling import Step, Tile, Tiling
from spec.semaphores import Semaphore

__all__ = ["first_takes", "last_gives"]

S = Semaphore
FOLLOWERS = (Role.PROJ, Role.FC2, Role.ATTEND2, Role.SCORE2, Role.KEEP)
"""Layers that take what an earlier one of the array makes, row by row."""


def first_takes(layer: Linear, tile: Tile | None) -> tuple[set[Semaphore], Semaphore | None]:
    """What a layer's first block takes at once, and what for each row."""
    if layer.role == Role.PATCH and tile:
        return set() if tile.number else {S.LIVE_READY}, S.TOKENS_READY
    if layer.role == Role.PATCH:
        return {S.LIVE_READY, S.TOKENS_READY}, None
    if layer.role == Role.PROJ and tile:
        return set() if tile.number else {S.ARRAY_DONE}, None
    if layer.role == Role.HEAD and not layer.first_reader:
        return {S.ARRAY_DONE if layer.source == "pool" else S.NORMALIZED}, None
    if layer.role == Role.SUMS:
        return {S.ARRAY_DONE} if layer.first_reader else set(), None
    if layer.first_reader:
        first = not (tile and tile.number)
        return {S.LIVE_READY} if layer.behind_select and first else set(), S.NORMALIZED
    return set(), S.ARRAY_DONE if layer.role in FOLLOWERS else None


def last_gives(layer: Linear, step: Step, tiling: Tiling) -> tuple[Semaphore | None, bool]:
    """What a layer's last block gives, and whether it does so for each row."""
    tile = step.tile
    final = tile is None or tile.final
    if layer.role == Role.FC2 and step.once:
        return S.RESIDUAL_READY if final else None, False
    if layer.role == Role.FC2 and tile and step.apart:
        next_to_last = tile.number == len(tiling.tokens) - 2
        return S.RESIDUAL_READY if final or next_to_last else None, final
    match layer.role:
        case Role.PATCH:
            return S.RESIDUAL_READY if final else None, False
        case Role.VALUE | Role.POOL | Role.GLOBAL:
            return S.ARRAY_DONE, False
        case Role.PROJ:
            return S.RESIDUAL_READY, True
        case Role.FC1 | Role.ATTEND1 | Role.SCORE2:
            return S.ARRAY_DONE, True
        case Role.SCORE1:
            return S.ARRAY_DONE if layer.last_word else None, True
        case Role.KEEP:
            return S.RESIDUAL_READY, False
        case Role.FC2:
            return S.RESIDUAL_READY if final else None, final and not layer.last_writer
        case Role.HEAD:
            return S.RESULT_READY, False
    return None, False
