"""Selections of tokens in a program whose residual stream does not stay on chip.

The residual stream lies in DRAM slice by slice of its columns, because SELECT needs all rows of a
word at once, but not all words. A selection:

- The selector's LayerNorm of every tile is in the place of norm1: normalised rows are stored. Its
  layers read all of them, loaded as for Q. With the attention of CLS there is none; norm1 takes its
  place, and its rows are not stored.
- Slice by slice: the slice of all live rows is loaded, SELECT moves its rows, and it is stored. The
  scores are the same each time; only the last SELECT sets the number of live tokens.
- norm1, tile by tile: residual rows are loaded, normalised and stored, in two places in turn.

From then on a transfer moves rows of live tokens only, a tile may have none, and all its credits
still agree: every instruction of a tile, or of a piece of one, has as many rows. The credits:

- TOKENS_FREE: keep is over, and with it all that reads normalised tokens; the first slice goes
  there. With the attention of CLS, SPILLED: the last tile is stored.
- NORM_TABLE_READY is for SELECT and norm1 what TOKENS_READY is for the array: a slice, or a tile of
  residual rows, is there. So no LayerNorm table that is needed later may be loaded earlier. The
  table of norm1 follows the last slice, and its credit is for both.
- ROWS_READY: SELECT or norm1 of a tile is over, its rows may be stored. SPILLED: they are; the next
  slice, or the tile after the next, may be loaded in the same place. The last one: all normalised
  tokens may be loaded.
- LIVE_READY goes from the last SELECT to the first Q. The load queue needs no LIVE_KNOWN: its next
  load follows the store behind that SELECT. Stores that depend on the number of live tokens follow
  a ROWS_READY; those before it have started, because a credit of SPILLED that they, or later ones,
  give lies before the next SELECT.
"""

from dataclasses import replace

from compiler.allocation import Allocation
from compiler.layers import Lowered, Norm, Select, View
from compiler.program import views_of
from compiler.selector import KEEP_STRIDE
from compiler.spilling import SpillingScheduler
from compiler.tiling import Step, Tile
from spec.isa import Opcode, Scores
from spec.semaphores import Semaphore

__all__ = ["SelectingScheduler"]

S = Semaphore


class SelectingScheduler(SpillingScheduler):
    """Writes the program of one picture; see the module."""

    def __init__(self, lowered: Lowered, allocation: Allocation) -> None:
        super().__init__(lowered, allocation)
        self.held: list[int] = []
        """For each selection to come, the first LayerNorm whose table waits for it."""
        self.late = 0
        """Tables that could not be loaded when it was their turn."""
        norms = 0
        for layer in lowered.layers:
            if isinstance(layer, Select):
                by_classifier = layer.fields["scores"] == Scores.CLASSIFIER
                self.held.append(norms if by_classifier else norms + 1)
            norms += isinstance(layer, Norm)

    def load_norm(self) -> None:
        """The next LayerNorm's table, or later."""
        if self.held and self.loaded_norms >= self.held[0]:
            self.late += 1
        else:
            super().load_norm()

    def select(self, step: Step, layer: Select) -> None:
        """A selection, slice by slice."""
        region, fields = self.plan.regions["slice"], {"keep": 0, "attend": 0}
        by_classifier = layer.fields["scores"] == Scores.CLASSIFIER
        if by_classifier:
            fields = {name: self.plan.regions[f"selector.{name}"].base for name in fields}
        slices = self.plan.tiling.slices
        whole = replace(region, stride=2 * sum(part.count for part in slices))
        transfers = list(self.slices(whole, 0))
        for part, moved in zip(slices, transfers, strict=True):
            first, final = not part.number, part.final
            moved = {**moved, "token": region.base, "stride": moved["words"]}
            table = final and by_classifier
            self.out.add(
                "residual",
                Opcode.LOAD_TOKENS,
                moved,
                wait=[S.TOKENS_FREE if first and by_classifier else S.SPILLED],
                signal=[] if table else [S.NORM_TABLE_READY],
            )
            if table:
                self.held.pop(0)
                self.late -= 1
                self.load_norm()
            self.out.add(
                layer.name,
                Opcode.SELECT,
                {
                    "source": region.base,
                    "stride": moved["stride"],
                    "words": moved["words"],
                    "score_stride": KEEP_STRIDE,
                    **fields,
                    **layer.fields,
                    "more": int(not final),
                },
                wait={S.NORM_TABLE_READY}
                | ({S.RESIDUAL_READY} if first and by_classifier else set()),
                signal={S.ROWS_READY} | ({S.LIVE_READY} if final else set()),
                views=self.views_of_slice(layer, part),
            )
            self.selected = self.selected or final
            self.out.add(
                "residual",
                Opcode.STORE_TOKENS,
                {**moved, "live": int(self.selected)},
                wait=[S.ROWS_READY],
                signal=[S.SPILLED],
            )
        if not by_classifier:
            self.held.pop(0)

    def views_of_slice(self, layer: Select, part: Tile) -> tuple[View, ...]:
        """The words of a slice of what a selection makes."""
        lanes, channels = self.plan.config.lanes, self.shape.embed_dim
        first = part.first * lanes
        count = min(part.count * lanes, channels - first)
        return tuple(
            (name, replace(view, words=2 * part.count, channel=first, count=count))
            for name, view in layer.views
        )

    def normalize(self, step: Step, layer: Norm) -> None:
        """A LayerNorm: norm1 behind a selection has all its rows in DRAM."""
        if step.follows or step.tile is None:
            super().normalize(step, layer)
            return
        tile = step.tile
        tiles = len(self.plan.tiling.tokens_at(step.block))
        turn = tile.number % 2 * self.plan.tiling.tokens[0].count
        source, target = (self.slot(name, turn, tile.count) for name in ("left", "left rows"))
        wait = [] if tile.number == 1 else [S.SPILLED]
        self.load_residual(tile.first, source, wait, [S.NORM_TABLE_READY])
        self.out.add(
            layer.name,
            Opcode.NORMALIZE,
            {**self.norm_operands(layer, source, target), "rows": self.tile_rows(tile)},
            wait=[S.NORM_TABLE_READY],
            signal={S.ROWS_READY} | self.table_free(step, layer),
            row_limit=tile.count,
            views=views_of(layer.views, tile),
        )
        self.out.add(
            "tokens",
            Opcode.STORE_TOKENS,
            self.stored_tokens(target, tile.first),
            wait=[S.ROWS_READY],
            signal=[S.SPILLED] if tile.final or tile.number + 2 < tiles else [],
        )
        if step.last:
            count, self.late = self.late + 1, 0
            for _ in range(count):
                self.load_norm()
