"""Second step: where everything lies: token and row memory, tables, the WEIGHTS window."""

from dataclasses import dataclass, replace

from compiler.errors import CompileError, need
from compiler.index_ring import LISTS, IndexItem, index_items
from compiler.layers import ATTENTION_INPUTS, Attention, Head, Linear, Lowered, Mean, Norm, Role
from compiler.packing import words
from compiler.region_names import region_name
from compiler.regions import MAX_LOAD_WORDS
from compiler.ring import RingBlock, RingUse, array_waits, place_best, place_uses
from compiler.tiling import Step, Tiling, norms_in_turn, steps
from compiler.token_regions import Region, place_tokens
from spec.config import Config
from spec.formats import NORM, REQUANTIZE
from spec.image import ALIGNMENT_BYTES
from spec.isa import BODIES, FULLY_CONNECTED, Opcode

__all__ = ["Allocation", "Region", "allocate"]

MAX_STRIDE = (1 << FULLY_CONNECTED["source_stride"].width) - 1
MAX_OFFSET = 1 << 32


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Every address of a program."""

    config: Config
    tiling: Tiling
    steps: tuple[Step, ...]
    """The layers and tiles in program order."""
    regions: dict[str, Region]
    key_row: int
    value_row: int
    ring_row: int
    """Row-memory words from here on are the weight ring."""
    shared: bool
    """While no keys and values are alive, the weight ring is all of row memory."""
    ring: tuple[RingBlock, ...]
    """One entry for each use of a column block, in program order; if `shared`, one for each
    encoder block's keys and values too, at its last attention."""
    norm_slots: int
    """LayerNorms whose tables fit side by side."""
    norm_tables: int
    """Tables of one LayerNorm."""
    position_offset: int
    norm_offsets: tuple[int, ...]
    block_offsets: tuple[int, ...]
    """Of all layers' column blocks."""
    index: tuple[IndexItem, ...]
    """Lists of kept scores and places of keys, in the order of their use."""
    weights_bytes: int
    scratch: dict[str, int]
    """Offset of each spilled tensor in the SCRATCH window: `residual`, `tokens`, `context`."""
    scratch_bytes: int
    predicted_cycles: int
    """Of the array, without scores and P.V: working, and waiting for weights at bus speed."""
    loaded_bytes: int
    """Weights and column tables, as often as they are loaded."""

    def region(self, name: str, block: int, mlp: bool = False) -> Region:
        """Where a tensor of an encoder block lies; mlp: norm2's rows, not norm1's."""
        return self.regions[region_name(name, block, mlp, self.tiling)]

    def describe(self) -> str:
        """The memory map, one line an item."""
        config = self.config
        width = max(9, *(len(name) for name in self.regions))
        lines = [self.tiling.describe()] if self.tiling != Tiling() else []
        lines += [
            f"token memory  {region.base:6}..{region.end - 1:<6} {region.name:<{width}} "
            f"{region.rows} rows x {region.stride} words, {'/'.join(sorted(region.phases))}"
            for region in self.regions.values()
        ]
        used = max(region.end for region in self.regions.values())
        lines.append(f"token memory  {used} of {config.token_words} words")
        lines.append(
            f"row memory    {self.key_row:6}..{self.ring_row - 1:<6} keys and values (a bank)"
        )
        blocks = [block for block in self.ring if block.table >= 0]
        lines.append(
            f"row memory    {self.ring_row:6}..{config.row_words - 1:<6} weight ring, "
            f"{len(blocks)} blocks, largest {max(b.size for b in blocks)} words"
            + (", from 0 on while no keys are in use" if self.shared else "")
        )
        if self.index:
            size, longest = (op(item.size for item in self.index) for op in (sum, max))
            lines.append(
                f"lists         {len(self.index)} of scores and of places, {size} words, the "
                f"longest {longest}"
            )
        lines.append(f"norm tables   {self.norm_slots} slots of {self.norm_tables}")
        lines.append(f"WEIGHTS       {self.weights_bytes:,} bytes")
        if self.scratch_bytes:
            places = ", ".join(f"{name} from {offset:,}" for name, offset in self.scratch.items())
            lines.append(f"SCRATCH       {self.scratch_bytes:,} bytes: {places}")
        return "\n".join(lines)


def allocate(lowered: Lowered, config: Config, proj_whole: bool = False) -> Allocation:
    """Place everything; `CompileError` says what does not fit.

    proj_whole : if the rest is tiled, proj is not (see `Tiling`)
    """
    _check_limits(lowered, config)
    shape = lowered.model.config
    tiling, regions = place_tokens(lowered, config, proj_whole)
    skipped = shape.passes[0].skipped
    selected = [stage.block for stage in shape.stages if stage.block in skipped]
    if tiling.spilled and (selected or len(skipped) == shape.depth):
        raise CompileError(
            f"blocks.{min(selected or skipped)}: attention "
            + ("is skipped behind a selection" if selected else "of all blocks is skipped")
            + " only where the residual stream stays on chip; for preset "
            f"'{config.name}' it goes to DRAM (token_words {config.token_words})"
        )
    order = steps(lowered, tiling)
    kv_words = lowered.key_groups * lowered.packing.head_words
    shared = bool(tiling.tokens) or _largest(lowered, config) + 2 * kv_words > config.row_words
    uses = _ring_uses(lowered, order, 2 * kv_words, shared, config)
    norm_tables = words(shape.embed_dim, config.lanes)
    if tiling.spilled:
        count = norms_in_turn(shape)
        both = "LayerNorm tables for norm2 and norm1 in turn"
        if count > 2:
            both = f"LayerNorm tables for {count} LayerNorms in turn, around skipped attention,"
        need("blocks.0.norm2", count * norm_tables, both, config.norm_tables, "norm_tables", config)
    offset = 0
    scratch, scratch_bytes = _scratch(lowered) if tiling.spilled else ({}, 0)

    def place(size: int) -> int:
        nonlocal offset
        start = offset
        offset += -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        return start

    entry_bytes = REQUANTIZE.entry_bytes
    position_offset = place(lowered.position.nbytes)
    norms = [layer for layer in lowered.layers if isinstance(layer, Norm)]
    norm_offsets = tuple(place(len(norm.gain) * entry_bytes) for norm in norms)
    block_offsets = tuple(
        place(block.groups * config.lanes * (entry_bytes + len(block.weight)))
        for layer in lowered.layers
        if isinstance(layer, Linear)
        for block in layer.blocks
    )
    ring_words = regions[LISTS].size if LISTS in regions else 0
    index = tuple(
        replace(item, offset=place(item.size * config.lanes))
        for item in index_items(lowered, ring_words, tiling.spilled)
    )
    need("weights", offset, "bytes of DRAM", MAX_OFFSET, "32-bit offsets")
    placed = (place_best if shared else place_uses)(uses, config.row_words, config.column_tables)
    return Allocation(
        config=config,
        tiling=tiling,
        steps=order,
        regions=regions,
        key_row=0,
        value_row=kv_words,
        ring_row=2 * kv_words,
        shared=shared,
        ring=placed,
        norm_slots=config.norm_tables // norm_tables,
        norm_tables=norm_tables,
        position_offset=position_offset,
        norm_offsets=norm_offsets,
        block_offsets=block_offsets,
        index=index,
        weights_bytes=offset,
        scratch=scratch,
        scratch_bytes=scratch_bytes,
        predicted_cycles=sum(use.use_cycles for use in uses) + array_waits(uses, placed),
        loaded_bytes=sum(_weight_bytes(step, config) for step in order),
    )


def _weight_bytes(step: Step, config: Config) -> int:
    """Bytes of a step's column blocks and their tables."""
    if not isinstance(step.layer, Linear):
        return 0
    rows = sum(block.groups * (block.depth + REQUANTIZE.entry_bytes) for block in step.layer.blocks)
    return rows * config.lanes


def _scratch(lowered: Lowered) -> tuple[dict[str, int], int]:
    """Offsets of what is spilled, and the bytes of all; the context lies group by group."""
    shape, packing = lowered.model.config, lowered.packing
    dim_words = words(shape.embed_dim, lowered.lanes)
    offsets, offset = {}, 0
    for name, length in (
        ("residual", 2 * dim_words),
        ("tokens", dim_words),
        ("context", packing.context_words),
    ):
        offsets[name] = offset
        size = shape.tokens * length * lowered.lanes
        offset += -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    return offsets, offset


def _largest(lowered: Lowered, config: Config) -> int:
    """Bank words of the largest column block."""
    linears = (layer for layer in lowered.layers if isinstance(layer, Linear))
    return max(words(block.depth, config.banks) for layer in linears for block in layer.blocks)


def _ring_uses(
    lowered: Lowered, order: tuple[Step, ...], kv_words: int, shared: bool, config: Config
) -> list[RingUse]:
    """The column blocks in program order; if `shared`, also where keys and values are dead.

    Then only the blocks of Q, K and V must leave the words of keys and values alone.
    """
    word_bytes = config.banks * config.lanes
    tokens = lowered.model.config.tokens
    uses = []
    for step in order:
        layer = step.layer
        if isinstance(layer, Linear):
            beside = not shared or layer.role in (*ATTENTION_INPUTS, Role.POOL, Role.GLOBAL)
            first = kv_words if beside else 0
            single = layer.role in (Role.HEAD, Role.SUMS)
            count = step.tile.count if step.tile else 1 if single else tokens
            table_bytes = config.lanes * REQUANTIZE.entry_bytes
            for block in layer.blocks:
                size = words(block.depth, config.banks)
                needed, available = (first + size) * word_bytes, config.row_words * word_bytes
                need(layer.name, needed, "bytes of row memory", available, "row_words", config)
                load_bytes = block.groups * (size * word_bytes + table_bytes)
                use = RingUse(
                    size=size,
                    first=first,
                    load_cycles=words(load_bytes, config.bus_bytes),
                    use_cycles=size * count,
                )
                uses.append(use)
        elif shared and isinstance(layer, Attention) and layer.last_group:
            cycles = sum(_core_cycles(lowered, head, config) for head in layer.heads)
            uses.append(RingUse(size=kv_words, hold=True, use_cycles=cycles))
        elif shared and isinstance(layer, Mean) and layer.last:
            uses.append(RingUse(size=kv_words, hold=True, use_cycles=kv_words))
    return uses


def _core_cycles(lowered: Lowered, head: Head, config: Config) -> int:
    """Of the array for a head's scores and P.V, about: a list has as many steps as P.V has."""
    tokens = lowered.model.config.tokens
    steps = words(tokens, config.banks) * tokens
    if head.lists is not None:
        steps = len(head.lists) // config.banks
    return 2 * steps * lowered.packing.head_words


def _check_limits(lowered: Lowered, config: Config) -> None:
    """Everything but memory sizes: tokens, heads, channels, and the widths of the fields."""
    shape = lowered.model.config
    dim_words = words(shape.embed_dim, config.lanes)
    need(
        "blocks.0.attn",
        shape.tokens,
        "tokens",
        config.max_tokens,
        "score_words and prob_words",
        config,
    )
    need(
        "blocks.0.attn",
        shape.head_dim,
        "channels a head",
        config.max_head_dim,
        "max_head_dim",
        config,
    )
    attention = BODIES[Opcode.ATTENTION]
    for field, value in (("head_dim", shape.head_dim), ("head_words", lowered.packing.head_words)):
        need("blocks.0.attn", value, field, (1 << attention[field].width) - 1, "width of the field")
    need("blocks.0.norm1", shape.embed_dim, "channels", NORM.max_channels, "LayerNorm's widths")
    need(
        "blocks.0.norm1",
        dim_words,
        "LayerNorm tables",
        config.norm_tables,
        "norm_tables",
        config,
    )
    strides = {
        "patch_embed": words(shape.patch_dim, config.lanes),
        "embed.position": 2 * dim_words,
        "blocks.0.attn.proj": lowered.packing.context_words,
        "blocks.0.mlp.fc2": words(shape.mlp_dim, config.lanes),
    }
    for where, stride in strides.items():
        need(where, stride, "words a token row", MAX_STRIDE, f"lanes {config.lanes}")
    need("embed.position", 2 * dim_words, "words a row to load", MAX_LOAD_WORDS, "width of a field")
