"""Second step: where everything lies: token and row memory, tables, the WEIGHTS window."""

from dataclasses import dataclass

from compiler.errors import CompileError, need
from compiler.layers import Linear, Lowered, Norm
from compiler.packing import words
from compiler.ring import RingBlock, place_ring
from spec.config import Config
from spec.formats import NORM, REQUANTIZE
from spec.image import ALIGNMENT_BYTES
from spec.isa import BODIES, FULLY_CONNECTED, LOAD_TOKENS, Opcode

__all__ = ["Allocation", "Region", "allocate"]

MAX_STRIDE = (1 << FULLY_CONNECTED["source_stride"].width) - 1
MAX_LOAD_WORDS = (1 << LOAD_TOKENS["words"].width) - 1
MAX_OFFSET = 1 << 32


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


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Every address of a program."""

    config: Config
    regions: dict[str, Region]
    key_row: int
    value_row: int
    ring_row: int
    """Row-memory words from here on are the weight ring."""
    ring: tuple[RingBlock, ...]
    """One entry for each column block, in program order."""
    norm_slots: int
    """LayerNorms whose tables fit side by side."""
    norm_tables: int
    """Tables of one LayerNorm."""
    position_offset: int
    norm_offsets: tuple[int, ...]
    block_offsets: tuple[int, ...]
    weights_bytes: int

    def describe(self) -> str:
        """The memory map, one line an item."""
        config = self.config
        lines = [
            f"token memory  {region.base:6}..{region.end - 1:<6} {region.name:<9} "
            f"{region.rows} rows x {region.stride} words, {'/'.join(sorted(region.phases))}"
            for region in self.regions.values()
        ]
        used = max(region.end for region in self.regions.values())
        lines.append(f"token memory  {used} of {config.token_words} words")
        lines.append(
            f"row memory    {self.key_row:6}..{self.ring_row - 1:<6} keys and values (a bank)"
        )
        lines.append(
            f"row memory    {self.ring_row:6}..{config.row_words - 1:<6} weight ring, "
            f"{len(self.ring)} blocks, largest {max(b.size for b in self.ring)} words"
        )
        lines.append(f"norm tables   {self.norm_slots} slots of {self.norm_tables}")
        lines.append(f"WEIGHTS       {self.weights_bytes:,} bytes")
        return "\n".join(lines)


def allocate(lowered: Lowered, config: Config) -> Allocation:
    """Place everything; `CompileError` says what does not fit."""
    _check_limits(lowered, config)
    regions = _token_regions(lowered, config)
    shape = lowered.model.config
    kv_words = words(shape.tokens, config.banks) * lowered.packing.head_words
    word_bytes = config.banks * config.lanes
    row_bytes = config.row_words * word_bytes
    sizes = []
    for layer in lowered.layers:
        if isinstance(layer, Linear):
            size = words(layer.depth, config.banks)
            needed = (2 * kv_words + size) * word_bytes
            need(layer.name, needed, "bytes of row memory", row_bytes, "row_words", config)
            sizes += [size] * len(layer.blocks)
    ring_row = 2 * kv_words
    norm_tables = words(shape.embed_dim, config.lanes)
    offset = 0

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
        place(config.lanes * (entry_bytes + len(block.weight)))
        for layer in lowered.layers
        if isinstance(layer, Linear)
        for block in layer.blocks
    )
    need("weights", offset, "bytes of DRAM", MAX_OFFSET, "32-bit offsets")
    return Allocation(
        config=config,
        regions=regions,
        key_row=0,
        value_row=kv_words,
        ring_row=ring_row,
        ring=place_ring(sizes, ring_row, config.row_words, config.column_tables),
        norm_slots=config.norm_tables // norm_tables,
        norm_tables=norm_tables,
        position_offset=position_offset,
        norm_offsets=norm_offsets,
        block_offsets=block_offsets,
        weights_bytes=offset,
    )


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


def _token_regions(lowered: Lowered, config: Config) -> dict[str, Region]:
    """Regions by first fit: two may share words only if they are never in use together.

    Patches and all normalised tokens share one region: each is dead before the next is written.
    """
    shape, packing, lanes = lowered.model.config, lowered.packing, config.lanes
    dim_words = words(shape.embed_dim, lanes)
    everywhere = frozenset({"embed", "attention", "mlp", "head"})
    patch_words = words(shape.patch_dim, lanes)
    regions = [
        Region(name="residual", rows=shape.tokens, stride=2 * dim_words, phases=everywhere),
        Region(name="norm", rows=shape.tokens, stride=dim_words, phases=everywhere - {"embed"}),
        Region(name="patches", rows=shape.patches, stride=patch_words, phases=frozenset({"embed"})),
        Region(
            name="query",
            rows=shape.tokens,
            stride=packing.head_words,
            phases=frozenset({"attention"}),
        ),
        Region(
            name="context",
            rows=shape.tokens,
            stride=packing.context_words,
            phases=frozenset({"attention"}),
        ),
        Region(
            name="hidden",
            rows=shape.tokens,
            stride=words(shape.mlp_dim, lanes),
            phases=frozenset({"mlp"}),
        ),
        Region(
            name="result",
            rows=1,
            stride=2 * words(shape.classes, lanes),
            phases=frozenset({"head"}),
        ),
    ]
    where = {
        "residual": "embed.position",
        "norm": "blocks.0.norm1",
        "patches": "patch_embed",
        "query": "blocks.0.attn",
        "context": "blocks.0.attn",
        "hidden": "blocks.0.mlp.fc1",
        "result": "head",
    }
    placed: dict[str, Region] = {}
    for region in regions:
        base = 0
        for other in sorted(placed.values(), key=lambda item: item.base):
            if (
                region.phases & other.phases
                and base < other.end
                and other.base < base + region.size
            ):
                base = other.end
        placed[region.name] = Region(**{**vars(region), "base": base})
        need(
            where[region.name],
            placed[region.name].end * lanes,
            "bytes of token memory",
            config.token_words * lanes,
            "token_words",
            config,
        )
    _check_disjoint(placed)
    return placed


def _check_disjoint(regions: dict[str, Region]) -> None:
    for a in regions.values():
        for b in regions.values():
            if a is not b and a.phases & b.phases and a.base < b.end and b.base < a.end:
                raise CompileError(f"internal error: regions {a.name} and {b.name} overlap")
