"""The program of a model whose residual stream does not stay on chip.

Residual stream, normalised tokens and context live in the SCRATCH window. A tile's rows are loaded,
go from proj to the next norm1, and are stored in pieces, each as soon as its last row is done; the
next tile's are loaded piece by piece into their place. The credits, beyond those of `credits`:

- ROWS_READY: a piece of norm1 is done; its normalised rows and its residual rows may be stored.
- SPILLED: a piece's second store is confirmed: the next tile's piece may be loaded in its place;
  the last one of the last tile: all normalised tokens may be loaded, over all that a tile had.
  The last group's context is stored: the first tile's context may be loaded.
- CONTEXT_READY: a group's context is complete. RESULT_STORED: a context buffer may be used again.
- An encoder block without attention follows the one before it on chip, tile by tile: norm2 takes
  RESIDUAL_READY of the fc2 before it, as behind proj, and writes over the rows that fc1 has read.
  All LayerNorm tables that a tile needs in turn are there together (`norms_in_turn`).
- TOKENS_READY: row by row, all normalised tokens (first Q), or the context of a tile, whose
  residual rows come before it (proj). Once: patches and position embedding of a tile.
- The mean of the patches: the last LayerNorm works and is stored like norm1, but for the residual
  rows, which are dead; the pool layer takes the rows back as Q does.
- TOKENS_FREE: the last V has read the normalised tokens: the first tile's residual goes there
  (where lists are in use the last attention says so, behind the credits of `index_ring`); the
  patches of a tile are used; in the last encoder block, where nothing is stored, fc2 of a tile.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from compiler.credits import first_takes
from compiler.layers import SELECTOR, Attention, Linear, Norm, Role, View
from compiler.program import transfer, views_of
from compiler.ring import RingBlock
from compiler.scheduling import Scheduler
from compiler.tiling import Step, Tile, balanced, norms_in_turn, patches_of
from compiler.token_regions import CONTEXT_BUFFERS, Region, rows_of
from spec.isa import Opcode, Window
from spec.semaphores import Semaphore

__all__ = ["SpillingScheduler"]

S = Semaphore
PIECES = 4
"""Of a tile, stored and loaded one by one."""
READ_ALL = (Role.QUERY, Role.ATTEND1, Role.POOL)
"""The first of them loads all normalised tokens."""


class SpillingScheduler(Scheduler):
    """Writes the program of one picture; see the module."""

    def prologue(self) -> None:
        """Live tokens and the tables of norm1 and norm2 (or more), which take turns."""
        self.out.add("live", Opcode.LIVE, {"tokens": self.shape.tokens}, signal=[S.LIVE_READY])
        for _ in range(norms_in_turn(self.shape)):
            self.load_norm()

    # Places

    def slot(self, name: str, first: int, count: int) -> Region:
        """Rows of the tile in memory, from its first row on."""
        return rows_of(self.plan.regions[name], first, count)

    def source(self, step: Step, layer: Linear) -> Region:
        """The rows a layer or its tile reads."""
        if layer.role == Role.HEAD:
            return self.plan.regions["rows" if layer.source == "norm" else layer.source]
        if layer.role in (Role.POOL, *SELECTOR):
            return super().source(step, layer)
        return self.plan.region(layer.source, step.block, layer.role == Role.FC1)

    def target(self, step: Step, layer: Linear) -> Region:
        """The rows of token memory a layer or its tile writes."""
        region = self.plan.region(layer.target, step.block)
        if layer.role == Role.PATCH and step.tile and not step.tile.number:
            prefix = self.shape.prefix_tokens
            return rows_of(region, prefix, region.rows - prefix)
        return region

    def context(self, number: int) -> Region:
        """The buffer of a round's context."""
        buffers = min(CONTEXT_BUFFERS, len(self.lowered.packing.rounds))
        n = self.shape.tokens
        return rows_of(self.plan.regions["context"], number % buffers * n, n)

    def slices(self, region: Region, first: int) -> Iterator[dict[str, Any]]:
        """Transfers of rows of the residual stream, from row `first` on: slice by slice."""
        own = self.plan.tiling.slices or balanced(region.stride // 2, 1)
        for part in own:
            start, width = 2 * part.first, 2 * part.count
            place = replace(region, base=region.base + start)
            yield self.spilled("residual", place, start * self.shape.tokens, first, width)

    def spilled(
        self, name: str, region: Region, start: int, first: int, length: int
    ) -> dict[str, Any]:
        """A transfer of a region's rows, from row `first` on of a tensor or of a part of it.

        start : word of the part in the tensor
        length : words of a row of the part
        """
        offset = (start + first * length) * self.plan.config.lanes
        fields = transfer(region, Window.SCRATCH, self.plan.scratch[name] + offset, length)
        return {**fields, **({"live": 1, "first": first} if self.selected else {})}

    def pieces(self, tile: Tile) -> Iterator[Tile]:
        """Rows of a tile, counted from its first: the same places in every tile."""
        longest = self.plan.tiling.tokens[0].count
        for piece in balanced(longest, min(PIECES, longest)):
            count = min(piece.count, tile.count - piece.first)
            if count > 0:
                yield replace(piece, count=count)

    def arrivals(self, tile: Tile, before: Tile) -> list[Tile]:
        """Pieces in which a tile comes into the place of another; if it is longer, all at once."""
        if tile.count > before.count:
            return [Tile(number=0, first=0, count=tile.count, final=True)]
        return list(self.pieces(tile))

    # Credits

    def takes(self, step: Step, layer: Linear) -> tuple[set[Semaphore], Semaphore | None]:
        """What a layer's first block takes at once, and what for each row."""
        if layer.role == Role.PATCH:
            first = step.tile is not None and not step.tile.number
            return {S.TOKENS_READY} | ({S.LIVE_READY} if first else set()), None
        if layer.role == Role.PROJ or (layer.role in READ_ALL and layer.first_reader):
            return {S.LIVE_READY} if layer.behind_select else set(), S.TOKENS_READY
        if layer.role in SELECTOR:
            return first_takes(layer, None)
        if layer.role == Role.FC2:
            return set(), S.ARRAY_DONE
        if layer.role == Role.HEAD:
            return first_takes(layer, None)
        return set(), S.NORMALIZED if layer.first_reader else None

    def gives(self, step: Step, layer: Linear) -> tuple[set[Semaphore], Semaphore | None]:
        """What a layer's last block gives at once, and what for each row."""
        final = step.tile is None or step.tile.final
        match layer.role:
            case Role.PATCH:
                return {S.RESIDUAL_READY} | (set() if final else {S.TOKENS_FREE}), None
            case Role.VALUE:
                last = layer.last_value and layer.positions is None
                return {S.ARRAY_DONE} | ({S.TOKENS_FREE} if last else set()), None
            case Role.PROJ:
                return set(), S.RESIDUAL_READY
            case Role.FC1:
                return set(), S.ARRAY_DONE
            case Role.POOL:
                return {S.ARRAY_DONE}, None
            case Role.FC2 if not layer.last_writer or self.shape.pooling == "mean":
                return set(), S.RESIDUAL_READY
            case Role.FC2:
                return {S.RESIDUAL_READY if final else S.TOKENS_FREE}, None
            case Role.HEAD:
                return {S.RESULT_READY}, None
            case Role.KEEP:
                return {S.RESIDUAL_READY, S.TOKENS_FREE}, None
        return super().gives(step, layer) if layer.role in SELECTOR else (set(), None)

    # Loads

    def loads_ahead(self, step: Step, layer: Linear, places: Sequence[RingBlock]) -> int:
        """As many as need not wait longer than the layer's other inputs.

        Those come piece by piece while the layer before is at work, or when it is over.
        """
        over = layer.role in (Role.QUERY, Role.ATTEND1)
        ahead = 0
        while ahead < len(places) and places[ahead].after < self.used + over:
            ahead += 1
        return ahead

    def load_inputs(self, step: Step, layer: Linear) -> None:
        """What a layer's first block reads and no instruction makes."""
        if layer.role == Role.PATCH and step.tile:
            self.load_patch_tile(self.plan.tiling.tokens[step.tile.number])
        elif layer.role in (Role.QUERY, Role.ATTEND1) and layer.first_reader:
            self.load_rows("tokens", 0, self.plan.regions["tokens"], wait=[S.SPILLED], ready=True)
        elif layer.role == Role.POOL and layer.first_reader:
            first = self.shape.prefix_tokens
            self.load_rows("tokens", first, self.source(step, layer), wait=[S.SPILLED], ready=True)
        elif layer.role == Role.PROJ and step.tile:
            last = max(set(range(self.shape.depth)) - set(self.shape.passes[0].skipped))
            stays = step.block == last and self.shape.pooling != "mean"
            self.load_tile(step.tile, step.before, last=stays)

    def load_rows(
        self,
        name: str,
        first: int,
        region: Region,
        wait: Sequence[Semaphore] = (),
        ready: bool = False,
    ) -> None:
        """Rows `first` on of the normalised tokens."""
        self.out.add(
            name,
            Opcode.LOAD_TOKENS,
            self.spilled(name, region, 0, first, region.stride),
            wait=wait,
            token_signal=S.TOKENS_READY if ready else None,
        )

    def load_residual(
        self, first: int, region: Region, wait: Iterable[S], signal: Iterable[S] = ()
    ) -> None:
        """Rows `first` on of the residual stream, all slices; the last one gives the credits."""
        parts = list(self.slices(region, first))
        for number, fields in enumerate(parts):
            self.out.add(
                "residual",
                Opcode.LOAD_TOKENS,
                fields,
                wait=[] if number else wait,
                signal=signal if number == len(parts) - 1 else [],
            )

    def load_patch_tile(self, tile: Tile) -> None:
        """Patches and position embedding of a tile, in place of the tile before."""
        plan, lanes = self.plan, self.plan.config.lanes
        own = patches_of(tile, self.shape.prefix_tokens)
        patches = rows_of(plan.regions["patches"], 0, own.count)
        skipped = own.first * patches.stride * lanes
        self.out.add(
            "input",
            Opcode.LOAD_TOKENS,
            transfer(patches, Window.INPUT, skipped),
            wait=[S.TOKENS_FREE] if tile.number else [],
        )
        pieces = list(self.pieces(tile))
        for piece in pieces:
            region = self.slot("residual", piece.first, piece.count)
            first = tile.first + piece.first
            self.out.add(
                "embed.position",
                Opcode.LOAD_TOKENS,
                transfer(
                    region,
                    Window.WEIGHTS,
                    plan.position_offset + first * region.stride * lanes,
                ),
                wait=[S.SPILLED] if tile.number else [],
                signal=[S.TOKENS_READY] if piece is pieces[-1] else [],
                views=() if first else self.lowered.position_views,
            )

    def load_tile(self, tile: Tile, before: Tile | None, last: bool) -> None:
        """Residual stream and context of a tile.

        before : the tile in whose place it comes
        last : of the last encoder block, where the tile before leaves nothing to be stored
        """
        if before and not last:
            for piece in self.arrivals(tile, before):
                self.load_piece(tile, piece, [S.SPILLED], [])
        else:
            whole = Tile(number=0, first=0, count=tile.count, final=True)
            self.load_piece(tile, whole, [S.TOKENS_FREE], [] if tile.number else [S.SPILLED])

    def load_piece(
        self, tile: Tile, piece: Tile, wait: Sequence[Semaphore], then: Sequence[Semaphore]
    ) -> None:
        """Some rows of a tile; `then` : what the context waits for."""
        first, packing = tile.first + piece.first, self.lowered.packing
        self.load_residual(first, self.slot("residual", piece.first, piece.count), wait)
        place = self.slot("rows", piece.first, piece.count)
        for groups in packing.rounds:
            length, before = len(groups) * packing.head_words, groups[0] * packing.head_words
            target = replace(place, base=place.base + before)
            start = before * self.shape.tokens
            final = groups[-1] == packing.groups - 1
            self.out.add(
                "context",
                Opcode.LOAD_TOKENS,
                self.spilled("context", target, start, first, length),
                wait=[] if groups[0] else then,
                token_signal=S.TOKENS_READY if final else None,
            )

    # Compute and store

    def attention(self, step: Step, layer: Attention) -> None:
        """The heads of a group, and the store of their context."""
        packing = self.lowered.packing
        group = layer.heads[0].word // packing.head_words
        number, rounds = group // packing.head_groups, packing.rounds
        buffer = self.context(number)
        for head in layer.heads:
            first, final = head is layer.heads[0], head is layer.heads[-1]
            wait = {S.ARRAY_DONE} if first else set()
            if first and number >= CONTEXT_BUFFERS:
                wait.add(S.RESULT_STORED)
            signal = {S.CONTEXT_READY} if final else set()
            if final and layer.last_group:
                signal |= self.end_of_keys()
                signal |= {S.TOKENS_FREE} if head.lists is not None else set()
            query = self.plan.region("query", step.block)
            self.head(layer, head, query, buffer, wait=wait, signal=signal)
        start = group * self.shape.tokens * packing.head_words
        length = len(rounds[number]) * packing.head_words
        free = {S.RESULT_STORED} if number + CONTEXT_BUFFERS < len(rounds) else set()
        self.out.add(
            "context",
            Opcode.STORE_TOKENS,
            self.spilled("context", buffer, start, 0, length),
            wait=[S.CONTEXT_READY],
            signal=free | ({S.SPILLED} if layer.last_group else set()),
        )

    def normalize(self, step: Step, layer: Norm) -> None:
        """A LayerNorm of a tile: norm1 in pieces, with their stores; the mean's rows likewise.

        norm1 behind a selection comes before it too, if there is no LayerNorm of a selector: its
        rows are not stored.
        """
        stored = not layer.name.endswith("norm2")
        if layer.for_head:
            stored = self.shape.pooling == "mean"
        if not stored or step.tile is None:
            super().normalize(step, layer)
            return
        self.normalize_and_store(step, step.tile, layer)
        if step.last:
            self.load_norm()

    def norm_regions(self, step: Step, layer: Norm) -> tuple[Region, Region]:
        """Source and target of a LayerNorm: the rows of the tile in memory."""
        return self.plan.regions["residual"], self.plan.regions["rows"]

    def normalize_and_store(self, step: Step, tile: Tile, layer: Norm) -> None:
        """norm1 of a tile, piece by piece; of the embedding when the whole tile is there."""
        embedding = layer is self.norms[0]
        pieces = list(self.pieces(tile))
        taken = range(len(pieces) - 1, len(pieces))
        if step.following and step.following.count <= tile.count:
            taken = range(len(self.arrivals(step.following, tile)))
        for number, piece in enumerate(pieces):
            first, final = not number, piece is pieces[-1]
            source = self.slot("residual", piece.first, piece.count)
            target = self.slot("rows", piece.first, piece.count)
            own = Tile(
                number=0, first=tile.first + piece.first, count=piece.count, final=tile.final
            )
            wait = self.table_ready(step) if first else set()
            if embedding and first:
                wait.add(S.RESIDUAL_READY)
            self.out.add(
                layer.name,
                Opcode.NORMALIZE,
                {**self.norm_operands(layer, source, target), "rows": self.tile_rows(own)},
                wait=wait,
                signal={S.ROWS_READY} | (self.table_free(step, layer) if final else set()),
                token_wait=None if embedding else S.RESIDUAL_READY,
                row_limit=piece.count if self.selected else 0,
                views=self.views_of_piece(layer, own),
            )
            stores: list[tuple[str, dict[str, Any]]] = []
            if not layer.behind_select:
                stores.append(("tokens", self.stored_tokens(target, own.first)))
            if not layer.for_head:
                stores += [("residual", fields) for fields in self.slices(source, own.first)]
            for index, (name, fields) in enumerate(stores):
                self.out.add(
                    name,
                    Opcode.STORE_TOKENS,
                    fields,
                    wait=[] if index else [S.ROWS_READY],
                    signal=[S.SPILLED] if number in taken and index == len(stores) - 1 else [],
                )

    def stored_tokens(self, region: Region, first: int) -> dict[str, Any]:
        """The store of normalised rows, from row `first` on."""
        return self.spilled("tokens", region, 0, first, self.plan.regions["tokens"].stride)

    def views_of_piece(self, layer: Norm, piece: Tile) -> tuple[View, ...]:
        """What a piece of a LayerNorm makes; of one before a selection nothing is seen."""
        if layer.behind_select:
            return ()
        if layer.for_head:
            return self.head_views(layer, piece)
        return views_of(layer.views, piece)

    def head_views(self, layer: Norm, tile: Tile) -> tuple[View, ...]:
        """The patches' rows of a piece; those before the patches are in no tensor."""
        skip = max(self.shape.prefix_tokens - tile.first, 0)
        if skip >= tile.count:
            return ()
        row = tile.first + skip - self.shape.prefix_tokens
        return tuple(
            (name, replace(part, row=row, rows=tile.count - skip, skip=skip))
            for name, part in layer.views
        )
