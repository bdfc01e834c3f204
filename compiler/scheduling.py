"""Third step: the program. `credits` says which credits order it, and why they are enough."""

from collections.abc import Sequence
from dataclasses import replace

from compiler.allocation import Allocation
from compiler.array_sieve import ArraySieve
from compiler.credits import first_takes, last_gives
from compiler.heads import add_head
from compiler.layers import Attention, Block, Head, Linear, Lowered, Mean, Norm, Role, Select
from compiler.operands import Operands
from compiler.pooling import add_mean, head_rows, normalized_once
from compiler.program import Schedule, transfer, views_of
from compiler.ring import RingBlock
from compiler.selector import KEEP_STRIDE
from compiler.tiling import Step, Tile
from compiler.token_regions import PATCH_BUFFERS, Region, rows_of
from spec.assembler import live_rows
from spec.isa import Opcode, Scores, Window
from spec.semaphores import Semaphore

__all__ = ["Scheduler"]

S = Semaphore


class Scheduler(Operands):
    """Writes the program of one picture whose residual stream stays on chip."""

    def __init__(self, lowered: Lowered, allocation: Allocation) -> None:
        super().__init__(lowered, allocation)
        self.out = Schedule()
        self.sieve = ArraySieve(self.out, allocation)
        self.used = 0
        """Entries of the ring."""
        self.loaded_norms = 0
        self.unknown = False
        """The next load that depends on the number of live tokens waits for LIVE_KNOWN."""
        self.offsets: dict[int, tuple[int, ...]] = {}
        offsets = iter(allocation.block_offsets)
        for layer in lowered.layers:
            if isinstance(layer, Linear):
                self.offsets[id(layer)] = tuple(next(offsets) for _ in layer.blocks)

    def run(self) -> Schedule:
        """The whole program."""
        self.prologue()
        for step in self.plan.steps:
            if isinstance(step.layer, Linear):
                self.linear(step, step.layer)
            elif isinstance(step.layer, Attention):
                self.attention(step, step.layer)
            elif isinstance(step.layer, Mean):
                self.mean(step, step.layer)
            elif isinstance(step.layer, Select):
                self.select(step, step.layer)
            else:
                self.normalize(step, step.layer)
        self.store_result()
        (effort,) = self.shape.passes
        self.out.add("halt", Opcode.HALT, {"skipped": len(effort.skipped)})
        return self.out

    def prologue(self) -> None:
        """Live tokens, position embedding, patches and the first LayerNorm table."""
        self.out.add("live", Opcode.LIVE, {"tokens": self.shape.tokens}, signal=[S.LIVE_READY])
        if self.plan.tiling.patches:
            return
        self.out.add(
            "embed.position",
            Opcode.LOAD_TOKENS,
            transfer(self.plan.regions["residual"], Window.WEIGHTS, self.plan.position_offset),
            views=self.lowered.position_views,
        )
        self.out.add(
            "input",
            Opcode.LOAD_TOKENS,
            transfer(self.plan.regions["patches"], Window.INPUT, 0),
            signal=[S.TOKENS_READY],
        )
        self.load_norm()

    def load_patches(self, tile: Tile, skip: int = 0) -> None:
        """Position embedding and patches of a tile, or of its rows from `skip` on.

        The rows before the patches come with the first patch's.
        """
        residual, prefix = self.plan.regions["residual"], self.shape.prefix_tokens
        first = tile.first + prefix if tile.first else 0
        row_bytes = residual.stride * self.plan.config.lanes
        self.out.add(
            "embed.position",
            Opcode.LOAD_TOKENS,
            transfer(
                rows_of(residual, first, tile.first + prefix + tile.count - first),
                Window.WEIGHTS,
                self.plan.position_offset + first * row_bytes,
            ),
            views=() if first else self.lowered.position_views,
        )
        buffer = rows_of(self.patch_buffer(tile), skip, tile.count)
        self.out.add(
            "input",
            Opcode.LOAD_TOKENS,
            transfer(buffer, Window.INPUT, tile.first * buffer.stride * self.plan.config.lanes),
            wait=[S.TOKENS_FREE] if tile.number >= PATCH_BUFFERS and not skip else [],
            token_signal=S.TOKENS_READY,
        )

    def load_norm(self) -> None:
        """The next LayerNorm's table, if there is one more."""
        number = self.loaded_norms
        if number == len(self.norms):
            return
        self.loaded_norms += 1
        slots = self.plan.norm_slots
        self.out.add(
            self.norms[number].name,
            Opcode.LOAD_NORM,
            {
                "offset": self.plan.norm_offsets[number],
                "table": number % slots * self.plan.norm_tables,
                "channels": len(self.norms[number].gain),
            },
            wait=[S.NORM_TABLE_FREE] if number >= slots else [],
            signal=[S.NORM_TABLE_READY],
        )

    def normalize(self, step: Step, layer: Norm) -> None:
        """One LayerNorm; the table of the next follows at once, to be there in time."""
        whole = layer is self.norms[0] or layer.for_head
        once = whole or step.once
        ready = once or layer.behind_select or not step.follows
        credit = normalized_once(layer, self.shape)
        (source, target), count, views = self.norm_regions(step, layer), live_rows(), layer.views
        if layer.for_head:
            source, target, count = head_rows(self.shape, source, target, self.plan.config.lanes)
        elif step.tile:
            count, views = self.tile_rows(step.tile), views_of(layer.views, step.tile)
        self.out.add(
            layer.name,
            Opcode.NORMALIZE,
            {**self.norm_operands(layer, source, target), "rows": count},
            wait=self.table_ready(step) | ({S.RESIDUAL_READY} if once else set()),
            signal=self.table_free(step, layer) | credit,
            token_wait=None if ready else S.RESIDUAL_READY,
            token_signal=None if credit else S.NORMALIZED,
            row_limit=self.row_limit(step),
            views=views,
        )
        if step.last:
            self.load_norm()

    def table_ready(self, step: Step) -> set[Semaphore]:
        """What a LayerNorm's first step takes."""
        return {S.NORM_TABLE_READY} if step.first else set()

    def table_free(self, step: Step, layer: Norm) -> set[Semaphore]:
        """What a LayerNorm's last step gives, if a later table needs the place."""
        needed = self.number_of(layer) + self.plan.norm_slots < len(self.norms)
        return {S.NORM_TABLE_FREE} if step.last and needed else set()

    def linear(self, step: Step, layer: Linear) -> None:
        """A layer or a tile of it, column block by column block: load and use.

        What else the layer reads follows the weights of its first column blocks.
        """
        places = self.plan.ring[self.used : self.used + len(layer.blocks)]
        ahead = self.loads_ahead(step, layer, places)
        for index in range(ahead):
            self.load_weights(step, layer, index, places[index])
        self.load_inputs(step, layer)
        self.sieve.load(int(layer.role == Role.KEY and layer.positions is not None))
        for index, block in enumerate(layer.blocks):
            if index >= ahead:
                self.load_weights(step, layer, index, places[index])
            self.column_block(step, layer, block, places[index])
        self.used += len(layer.blocks)

    def loads_ahead(self, step: Step, layer: Linear, places: Sequence[RingBlock]) -> int:
        """Column blocks whose weights go before the layer's other inputs."""
        return 1

    def load_weights(self, step: Step, layer: Linear, index: int, place: RingBlock) -> None:
        """Load one column block, but for a tile that has no rows."""
        live_above = step.tile.first if step.tile and self.selected else 0
        wait = {S.WEIGHTS_FREE} if place.waits else set()
        if live_above and self.unknown:
            wait.add(S.LIVE_KNOWN)
            self.unknown = False
        self.out.add(
            layer.name,
            Opcode.LOAD_WEIGHTS,
            {
                "offset": self.offsets[id(layer)][index],
                "row": place.row,
                "depth": layer.blocks[index].depth,
                "table": place.table,
                "further_groups": layer.blocks[index].groups - 1,
                "live_above": live_above,
            },
            wait=wait,
            signal=[S.WEIGHTS_READY],
        )

    def column_block(self, step: Step, layer: Linear, block: Block, place: RingBlock) -> None:
        """Use a column block."""
        wait, signal = {S.WEIGHTS_READY}, {S.WEIGHTS_FREE} if place.frees else set()
        wait |= self.sieve.linear(layer, block)
        signal |= self.sieve.ends(layer, block)
        token_wait = token_signal = None
        if block is layer.blocks[0]:
            once, token_wait = self.takes(step, layer)
            wait |= once
        if block is layer.blocks[-1]:
            once, token_signal = self.gives(step, layer)
            signal |= once
        self.out.add(
            layer.name,
            Opcode.FULLY_CONNECTED,
            {
                **self.operands(step, layer, block),
                "depth": block.depth,
                "row": place.row,
                "table": place.table,
                "columns": block.columns,
                "zero_point": layer.zero_point,
                "activation": layer.activation,
                "activation_multiplier": layer.activation_multiplier,
                "activation_shift": layer.activation_shift,
                "activation_zero_point": layer.activation_zero_point,
                "accumulate": int(block.adds),
                "partial": self.plan.regions["sums"].base if block.adds else 0,
                "group_words": block.group_words,
                "broadcast": int(layer.role == Role.SCORE1),
            },
            wait=wait,
            signal=signal,
            token_wait=token_wait,
            token_signal=token_signal,
            row_limit=self.row_limit(step),
            views=views_of(block.views, step.tile) if step.tile else block.views,
        )

    def takes(self, step: Step, layer: Linear) -> tuple[set[Semaphore], Semaphore | None]:
        """What a layer's first block takes at once, and what for each row."""
        return first_takes(layer, step.tile)

    def gives(self, step: Step, layer: Linear) -> tuple[set[Semaphore], Semaphore | None]:
        """What a layer's last block gives at once, and what for each row."""
        credit, row_by_row = last_gives(layer, step, self.plan.tiling)
        once = {credit} if credit is not None and not row_by_row else set()
        if layer.role == Role.PATCH and step.tile:
            reused = step.tile.number + PATCH_BUFFERS < len(self.plan.tiling.patches)
            once |= {S.TOKENS_FREE} if reused else set()
        return once, credit if row_by_row else None

    def load_inputs(self, step: Step, layer: Linear) -> None:
        """What a layer reads and no earlier instruction makes: the patches of a tile."""
        if layer.role == Role.PATCH and step.tile:
            self.patches_behind(step.tile)

    def patches_behind(self, tile: Tile) -> None:
        """The patches of a tile, behind the weights of its first column block.

        Its buffer is free by then, no weights that are needed earlier wait behind the patches, and
        the array follows them row by row: in the first tile piece by piece, because the position
        embedding goes before the patches. The first LayerNorm table follows the last tile.
        """
        small = (tile.count // 8, tile.count // 4) if not tile.number else ()
        start = 0
        for count in (*small, tile.count - sum(small)):
            if count:
                self.load_patches(replace(tile, first=tile.first + start, count=count), start)
            start += count
        if tile.final:
            self.load_norm()

    def attention(self, step: Step, layer: Attention) -> None:
        """The heads of a group, one behind the other."""
        context = self.plan.region("context", step.block)
        for head in layer.heads:
            final = layer.last_group and head is layer.heads[-1]
            signal = set()
            if final:
                signal |= self.end_of_keys()
            tiled = self.plan.tiling.tokens and not self.plan.tiling.proj_whole
            if final and tiled:
                signal.add(S.ARRAY_DONE)
            self.head(
                layer,
                head,
                self.plan.region("query", step.block),
                replace(context, base=context.base + head.word),
                wait={S.ARRAY_DONE} if head is layer.heads[0] else set(),
                signal=signal,
                token_signal=S.ARRAY_DONE if final and not tiled else None,
            )

    def head(
        self,
        layer: Attention,
        head: Head,
        query: Region,
        target: Region,
        *,
        wait: set[Semaphore],
        signal: set[Semaphore],
        token_signal: Semaphore | None = None,
    ) -> None:
        """One head, with what the array drops of it."""
        list_ready, list_used = self.sieve.head(layer, head)
        add_head(
            self.out,
            layer,
            head,
            self.plan,
            self.lowered,
            query,
            target,
            wait=wait | list_ready,
            signal=signal | list_used,
            token_signal=token_signal,
        )

    def mean(self, step: Step, layer: Mean) -> None:
        """One word of the patches' mean."""
        ends = self.end_of_keys() if layer.last else set()
        normalised = self.plan.region("norm", step.block)
        target = self.plan.region(layer.target, step.block)
        self.sieve.nothing(layer.name)
        add_mean(self.out, layer, self.plan, normalised, target, self.shape, ends)

    def select(self, step: Step, layer: Select) -> None:
        """A selection; instructions behind it find the tokens that are left."""
        residual, (keep, attend) = self.plan.regions["residual"], (0, 0)
        if layer.fields["scores"] == Scores.CLASSIFIER:
            keep, attend = (
                self.plan.region(f"selector.{name}", step.block).base for name in ("keep", "attend")
            )
        tiled = bool(self.plan.tiling.tokens)
        self.selected = self.unknown = tiled
        self.out.add(
            layer.name,
            Opcode.SELECT,
            {
                "source": residual.base,
                "stride": residual.stride,
                "words": residual.stride,
                "keep": keep,
                "attend": attend,
                "score_stride": KEEP_STRIDE,
                **layer.fields,
            },
            wait=[S.RESIDUAL_READY],
            signal={S.LIVE_READY} | ({S.LIVE_KNOWN} if tiled else set()),
            views=layer.views,
        )

    def end_of_keys(self) -> set[Semaphore]:
        """What the last attention of an encoder block gives to the weight ring."""
        if not self.plan.shared:
            return set()
        self.used += 1
        return {S.WEIGHTS_FREE} if self.plan.ring[self.used - 1].frees else set()

    def store_result(self) -> None:
        """The logits to the RESULT window."""
        self.out.add(
            "head",
            Opcode.STORE_TOKENS,
            transfer(self.plan.regions["result"], Window.RESULT, 0),
            wait=[S.RESULT_READY],
        )
