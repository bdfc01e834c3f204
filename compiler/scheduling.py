"""Third step: the program. `credits` says which credits order it, and why they are enough."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from compiler.allocation import MAX_LOAD_WORDS, Allocation
from compiler.credits import first_takes, last_gives
from compiler.layers import Attention, Block, Linear, Lowered, Norm, Role, View
from compiler.packing import words
from compiler.tiling import Step, Tile
from compiler.token_regions import PATCH_BUFFERS, Region
from spec.assembler import Instruction, live_rows, rows
from spec.formats import NORM
from spec.image import TensorPart
from spec.isa import Destination, Opcode, Semaphore, Window

__all__ = ["Schedule", "schedule"]

S = Semaphore


@dataclass(kw_only=True)
class Schedule:
    """The program before encoding."""

    instructions: list[Instruction] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    parts: dict[str, list[TensorPart]] = field(default_factory=dict)

    def describe(self) -> str:
        """Disassembly with names."""
        lines = zip(self.instructions, self.names, strict=True)
        return "\n".join(f"{pc:5} {op}  ; {name}" for pc, (op, name) in enumerate(lines))

    def add(
        self,
        name: str,
        opcode: Opcode,
        fields: dict[str, Any],
        *,
        wait: Iterable[Semaphore] = (),
        signal: Iterable[Semaphore] = (),
        token_wait: Semaphore | None = None,
        token_signal: Semaphore | None = None,
        views: Iterable[View] = (),
    ) -> None:
        """Append an instruction; its views become parts of their tensors."""
        pc = len(self.instructions)
        self.instructions.append(
            Instruction(
                opcode=opcode,
                fields=fields,
                wait=frozenset(wait),
                signal=frozenset(signal),
                token_wait=token_wait,
                token_signal=token_signal,
            )
        )
        self.names.append(name)
        for tensor, part in views:
            self.parts.setdefault(tensor, []).append(replace(part, pc=pc))


def schedule(lowered: Lowered, allocation: Allocation) -> Schedule:
    """Write the program of one picture."""
    return _Scheduler(lowered, allocation).run()


class _Scheduler:
    """The program so far, and how many column blocks and LayerNorms it holds."""

    def __init__(self, lowered: Lowered, allocation: Allocation) -> None:
        self.lowered, self.plan = lowered, allocation
        self.shape = lowered.model.config
        self.out = Schedule()
        self.ring = iter(allocation.ring)
        self.norm_count = 0
        self.loaded_norms = 0
        self.norms = [layer for layer in lowered.layers if isinstance(layer, Norm)]
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
            else:
                self.normalize(step, step.layer)
        self.store_result()
        self.out.add("halt", Opcode.HALT, {})
        return self.out

    def prologue(self) -> None:
        """Live tokens, position embedding, patches and the first LayerNorm table."""
        self.out.add("live", Opcode.LIVE, {"tokens": self.shape.tokens}, signal=[S.LIVE_READY])
        if self.plan.tiling.patches:
            return
        self.out.add(
            "embed.position",
            Opcode.LOAD_TOKENS,
            _transfer(self.plan.regions["residual"], Window.WEIGHTS, self.plan.position_offset),
            views=self.lowered.position_views,
        )
        self.out.add(
            "input",
            Opcode.LOAD_TOKENS,
            _transfer(self.plan.regions["patches"], Window.INPUT, 0),
            signal=[S.TOKENS_READY],
        )
        self.load_norm()

    def load_patches(self, tile: Tile, skip: int = 0) -> None:
        """Position embedding and patches of a tile, or of its rows from `skip` on.

        The position embedding of the CLS row comes with the first patch's.
        """
        residual = self.plan.regions["residual"]
        first = tile.first + 1 if tile.first else 0
        row_bytes = residual.stride * self.plan.config.lanes
        self.out.add(
            "embed.position",
            Opcode.LOAD_TOKENS,
            _transfer(
                _rows_of(residual, first, tile.first + 1 + tile.count - first),
                Window.WEIGHTS,
                self.plan.position_offset + first * row_bytes,
            ),
            views=() if first else self.lowered.position_views,
        )
        buffer = _rows_of(self.patch_buffer(tile), skip, tile.count)
        self.out.add(
            "input",
            Opcode.LOAD_TOKENS,
            _transfer(buffer, Window.INPUT, tile.first * buffer.stride * self.plan.config.lanes),
            wait=[S.TOKENS_FREE] if tile.number >= PATCH_BUFFERS and not skip else [],
            token_signal=S.TOKENS_READY,
        )

    def patch_buffer(self, tile: Tile) -> Region:
        """The words of a tile of patches."""
        patches = self.plan.regions["patches"]
        size = patches.rows // PATCH_BUFFERS
        return _rows_of(patches, tile.number % PATCH_BUFFERS * size, tile.count)

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
        number = self.norm_count
        mlp = layer.name.endswith("norm2")
        source, target = self.plan.regions["residual"], self.plan.region("norm", step.block, mlp)
        whole = number == 0 or layer.cls_only
        frees = step.last and number + self.plan.norm_slots < len(self.norms)
        count, views = live_rows(), layer.views
        if layer.cls_only:
            count = rows(1)
        elif step.tile:
            source, target = (_rows_of_tile(region, step.tile) for region in (source, target))
            count, views = rows(step.tile.count), _views_of(layer.views, step.tile)
        wait = {S.NORM_TABLE_READY} if step.first else set()
        if whole:
            wait.add(S.RESIDUAL_READY)
        self.out.add(
            layer.name,
            Opcode.NORMALIZE,
            {
                "source": source.base,
                "source_stride": source.stride,
                "target": target.base,
                "target_stride": target.stride,
                "channels": self.shape.embed_dim,
                "rows": count,
                "table": number % self.plan.norm_slots * self.plan.norm_tables,
                "epsilon": layer.epsilon,
                "fraction_bits": NORM.fraction_bits(self.shape.embed_dim),
            },
            wait=wait,
            signal=[S.NORM_TABLE_FREE] if frees else [],
            token_wait=None if whole or not step.follows else S.RESIDUAL_READY,
            token_signal=S.NORMALIZED,
            views=views,
        )
        if step.last:
            self.norm_count += 1
            self.load_norm()

    def linear(self, step: Step, layer: Linear) -> None:
        """A layer or a tile of it, column block by column block: load and use."""
        for index, block in enumerate(layer.blocks):
            self.column_block(step, layer, index, block)

    def column_block(self, step: Step, layer: Linear, index: int, block: Block) -> None:
        """Load a column block and use it."""
        place = next(self.ring)
        self.out.add(
            layer.name,
            Opcode.LOAD_WEIGHTS,
            {
                "offset": self.offsets[id(layer)][index],
                "row": place.row,
                "depth": layer.depth,
                "table": place.table,
            },
            wait=[S.WEIGHTS_FREE] if place.waits else [],
            signal=[S.WEIGHTS_READY],
        )
        tile = step.tile
        if layer.role == Role.PATCH and tile and not index:
            self.patches_behind(tile)
        wait, signal = {S.WEIGHTS_READY}, {S.WEIGHTS_FREE} if place.frees else set()
        token_wait = token_signal = None
        if block is layer.blocks[0]:
            once, token_wait = first_takes(layer, tile)
            wait |= once
        if block is layer.blocks[-1]:
            credit, row_by_row = last_gives(layer, tile)
            if row_by_row:
                token_signal = credit
            elif credit is not None:
                signal.add(credit)
            if layer.role == Role.PATCH and tile:
                reused = tile.number + PATCH_BUFFERS < len(self.plan.tiling.patches)
                signal |= {S.TOKENS_FREE} if reused else set()
        self.out.add(
            layer.name,
            Opcode.FULLY_CONNECTED,
            {
                **self.operands(step, layer, block),
                "depth": layer.depth,
                "row": place.row,
                "table": place.table,
                "columns": block.columns,
                "zero_point": layer.zero_point,
                "destination": layer.destination,
                "activation": layer.activation,
                "activation_multiplier": layer.activation_multiplier,
                "activation_shift": layer.activation_shift,
                "activation_zero_point": layer.activation_zero_point,
                "accumulate": 0,
                "partial": 0,
            },
            wait=wait,
            signal=signal,
            token_wait=token_wait,
            token_signal=token_signal,
            views=_views_of(block.views, tile) if tile else block.views,
        )

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

    def operands(self, step: Step, layer: Linear, block: Block) -> dict[str, Any]:
        """Source, target and rows of a column block."""
        tile, mlp = step.tile, layer.role == Role.FC1
        source = self.plan.region(layer.source, step.block, mlp)
        count = live_rows()
        if layer.destination == Destination.ROWS:
            base = self.plan.key_row if layer.role == Role.KEY else self.plan.value_row
            target, stride = base + block.word, self.lowered.packing.head_words
        else:
            region = self.plan.region(layer.target, step.block)
            if tile and layer.target != "hidden":
                region = _rows_of_tile(region, tile)
            target, stride = region.base + block.word, region.stride
        if tile:
            count = rows(tile.count)
            if layer.role == Role.PATCH:
                source = self.patch_buffer(tile)
            elif layer.source != "hidden":
                source = _rows_of_tile(source, tile)
        elif layer.role == Role.PATCH:
            count = live_rows(1)
        elif layer.role == Role.HEAD:
            count = rows(1)
        if layer.role == Role.PATCH:
            target += stride
        return {
            "source": source.base,
            "source_stride": source.stride,
            "rows": count,
            "target": target,
            "target_stride": stride,
        }

    def attention(self, step: Step, layer: Attention) -> None:
        """The heads of a group, one behind the other."""
        query = self.plan.region("query", step.block)
        context = self.plan.region("context", step.block)
        for head in layer.heads:
            final = layer.last_group and head is layer.heads[-1]
            signal = set()
            if final and self.plan.shared and next(self.ring).frees:
                signal.add(S.WEIGHTS_FREE)
            if final and self.plan.tiling.tokens:
                signal.add(S.ARRAY_DONE)
            self.out.add(
                layer.name,
                Opcode.ATTENTION,
                {
                    "query": query.base,
                    "query_stride": query.stride,
                    "key": self.plan.key_row,
                    "value": self.plan.value_row,
                    "head_words": self.lowered.packing.head_words,
                    "head_dim": self.shape.head_dim,
                    "first_lane": head.first_lane,
                    "target": context.base + head.word,
                    "target_stride": context.stride,
                    "queries": live_rows(),
                    "keys": live_rows(),
                    "score_multiplier": head.score_multiplier,
                    "score_shift": head.score_shift,
                    "output_multiplier": head.output_multiplier,
                    "output_shift": head.output_shift,
                },
                wait=[S.ARRAY_DONE] if head is layer.heads[0] else [],
                signal=signal,
                token_signal=S.ARRAY_DONE if final and not self.plan.tiling.tokens else None,
                views=head.views,
            )

    def store_result(self) -> None:
        """The logits to the RESULT window."""
        self.out.add(
            "head",
            Opcode.STORE_TOKENS,
            _transfer(self.plan.regions["result"], Window.RESULT, 0),
            wait=[S.RESULT_READY],
        )


def _rows_of(region: Region, first: int, count: int) -> Region:
    """Some rows of a region."""
    return replace(region, base=region.base + first * region.stride, rows=count)


def _rows_of_tile(region: Region, tile: Tile) -> Region:
    return _rows_of(region, tile.first, tile.count)


def _views_of(views: Iterable[View], tile: Tile) -> tuple[View, ...]:
    """The rows of a tile of what a whole layer makes."""
    return tuple(
        (name, replace(part, row=part.row + tile.first, rows=tile.count)) for name, part in views
    )


def _transfer(region: Region, window: Window, offset: int) -> dict[str, Any]:
    """A whole region from or to DRAM; a single long row as many rows of a word pair."""
    count, length = region.rows, region.stride
    if length > MAX_LOAD_WORDS and count == 1:
        count, length = words(length, 2), 2
    return {
        "offset": offset,
        "window": window,
        "token": region.base,
        "words": length,
        "stride": length,
        "rows": count,
    }
