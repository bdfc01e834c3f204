"""The loop orders of each layer: what is legal, what it costs, and which one the program has.

A fully connected layer has three loops outside the array: tiles of tokens, column blocks, and
chunks of inputs. Of their six orders (AccelTran's dataflow question, with our array's inner loops
fixed) those that differ only in a loop of one turn are the same; the hardware runs the tokens of a
tile inside. Costs follow from two facts: weights are loaded again for every tile unless the tiles
are the innermost loop, because other layers' weights come between; and rows and sums that a loop
returns to must stay in token memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

from compiler.allocation import Allocation
from compiler.layers import ATTENTION_INPUTS, SELECTOR, Linear, Lowered, Role
from compiler.packing import words
from spec.formats import REQUANTIZE
from spec.isa import PARTIAL_WORDS, Destination

__all__ = ["LoopOrder", "loop_orders"]

TOKENS, COLUMNS, INPUTS = "tokens", "columns", "inputs"


@dataclass(frozen=True, kw_only=True)
class LoopOrder:
    """One order of one layer's loops, the outermost first; loops of one turn left out."""

    layer: str
    order: tuple[str, ...]
    weight_bytes: int
    """That are loaded, of one layer."""
    token_words: int
    """Rows it reads and writes, and sums, that must be in token memory."""
    free_words: int
    """That there are for them."""
    cycles: int
    """Predicted: the array's, or the bus's if that takes longer."""
    chosen: bool
    fused: bool = False
    """The next layer follows tile by tile, so the tokens must be the outermost loop."""

    @property
    def refusal(self) -> str:
        """Why it is not legal, if it is not."""
        if self.token_words > self.free_words:
            return "token memory"
        return "norm1 follows by tile" if self.fused and self.order[:1] != (TOKENS,) else ""

    @property
    def legal(self) -> bool:
        """The compiler could have chosen it."""
        return not self.refusal

    @property
    def cost(self) -> tuple[int, int, int]:
        """Cycles, bytes, and words."""
        return self.cycles, self.weight_bytes, self.token_words


def loop_orders(lowered: Lowered, allocation: Allocation) -> tuple[LoopOrder, ...]:
    """All orders of the first encoder block's layers, of the patch layer and of the head."""
    return tuple(_orders(lowered, allocation))


def _orders(lowered: Lowered, allocation: Allocation) -> Iterator[LoopOrder]:
    seen = set()
    for step in allocation.steps:
        layer = step.layer
        if isinstance(layer, Linear) and layer.role not in (*seen, *SELECTOR):
            seen.add(layer.role)
            yield from _of_layer(lowered, allocation, layer)


def _of_layer(lowered: Lowered, plan: Allocation, layer: Linear) -> Iterator[LoopOrder]:
    """Every different order of a layer's loops."""
    config, shape = plan.config, lowered.model.config
    patches = dict.fromkeys((Role.PATCH, Role.POOL), shape.patches)
    rows = (patches | {Role.HEAD: 1}).get(layer.role, shape.tokens)
    mine = [step for step in plan.steps if step.layer is layer]
    columns = len({block.word for block in layer.blocks})
    turns = {
        TOKENS: _tiles(plan, layer.role, rows),
        COLUMNS: columns,
        INPUTS: len(layer.blocks) // columns,
    }
    block_words = max(words(block.depth, config.banks) for block in layer.blocks)
    block_bytes = max(block.depth + REQUANTIZE.entry_bytes for block in layer.blocks) * config.lanes
    tile = words(rows, turns[TOKENS])
    stride = sum(_strides(lowered, layer))
    name = layer.name + (f" {layer.role.value}" if layer.role in ATTENTION_INPUTS else "")
    written: tuple[str, ...] = (TOKENS,) if len(mine) > 1 else ()
    written = tuple(loop for loop in (*written, COLUMNS, INPUTS) if turns[loop] > 1)
    seen = set()
    for full in permutations((TOKENS, COLUMNS, INPUTS)):
        order = tuple(loop for loop in full if turns[loop] > 1)
        if order in seen:
            continue
        seen.add(order)
        inside = order[order.index(TOKENS) + 1 :] if TOKENS in order else ()
        again = turns[TOKENS] if inside else 1
        behind = order[order.index(INPUTS) + 1 :] if INPUTS in order else ()
        sums = PARTIAL_WORDS * (rows if TOKENS in behind else tile) if INPUTS in order else 0
        sums *= columns if COLUMNS in behind else 1
        sums *= max(block.groups for block in layer.blocks)
        resident = tile if not order or order[0] == TOKENS else rows
        loaded = again * sum(block.groups for block in layer.blocks) * block_bytes
        array = rows * len(layer.blocks) * block_words
        yield LoopOrder(
            layer=name,
            order=order,
            weight_bytes=loaded,
            token_words=resident * stride + sums,
            free_words=config.token_words - _others(lowered, plan, layer.role, tile),
            cycles=max(array, loaded // config.bus_bytes),
            fused=plan.tiling.spilled and layer.role == Role.PATCH and turns[TOKENS] > 1,
            chosen=order == _without_tokens(written, order, len(mine)),
        )


def _without_tokens(
    written: tuple[str, ...], order: tuple[str, ...], steps: int
) -> tuple[str, ...]:
    """The program's order as the table names it: untiled, the tokens are the innermost loop."""
    if steps == 1 and TOKENS in order:
        return (*written, TOKENS)
    return written


def _tiles(plan: Allocation, role: Role, rows: int) -> int:
    """Tiles of tokens that the plan has for a layer, or would have."""
    tiling = plan.tiling
    if role == Role.PATCH:
        return max(1, len(tiling.tokens if tiling.spilled else tiling.patches))
    if role in (Role.PROJ, Role.FC1, Role.FC2):
        return max(1, len(tiling.tokens))
    return 1


def _strides(lowered: Lowered, layer: Linear) -> tuple[int, int]:
    """Token-memory words of a row that a layer reads, and of one that it writes."""
    shape, packing, lanes = lowered.model.config, lowered.packing, lowered.lanes
    width = {
        "patches": words(shape.patch_dim, lanes),
        "residual": 2 * words(shape.embed_dim, lanes),
        "norm": words(shape.embed_dim, lanes),
        "query": packing.query_words,
        "context": packing.context_words,
        "hidden": words(shape.mlp_dim, lanes),
        "pool": words(shape.embed_dim, lanes),
        "result": 2 * words(shape.classes, lanes),
    }
    target = 0 if layer.destination == Destination.ROWS else width[layer.target]
    return width[layer.source], target


def _others(lowered: Lowered, plan: Allocation, role: Role, tile: int) -> int:
    """Words of token memory that hold something else while a layer runs."""
    shape, packing = lowered.model.config, lowered.packing
    n, dim_words = shape.tokens, words(shape.embed_dim, lowered.lanes)
    spilled, turn = plan.tiling.spilled, max(dim_words, packing.context_words)
    residual = 0 if spilled else 2 * n * dim_words
    match role:
        case Role.QUERY | Role.KEY | Role.VALUE:
            size = plan.regions["context"].size if "context" in plan.regions else n * turn
            query = 0 if role == Role.QUERY else n * packing.query_words
            return residual + size + query
        case Role.FC1:
            return 2 * tile * dim_words if spilled else residual
        case Role.FC2:
            return tile * turn if spilled else n * turn
    return 0
