"""What the instructions of a program read and write, and how many rows they have."""

from typing import Any

from compiler.allocation import Allocation
from compiler.layers import Block, Linear, Lowered, Norm, Role
from compiler.pooling import copied_rows
from compiler.program import rows_of_tile
from compiler.tiling import Step, Tile
from compiler.token_regions import PATCH_BUFFERS, Region, rows_of
from spec.assembler import live_rows, rows
from spec.formats import NORM
from spec.isa import Destination

__all__ = ["Operands"]


class Operands:
    """Of a program whose residual stream stays on chip."""

    def __init__(self, lowered: Lowered, allocation: Allocation) -> None:
        self.lowered, self.plan = lowered, allocation
        self.shape = lowered.model.config
        self.selected = False
        """Tiles may have fewer rows than there is place for, or none."""
        self.norms = [layer for layer in lowered.layers if isinstance(layer, Norm)]

    def patch_buffer(self, tile: Tile) -> Region:
        """The words of a tile of patches."""
        patches = self.plan.regions["patches"]
        size = patches.rows // PATCH_BUFFERS
        return rows_of(patches, tile.number % PATCH_BUFFERS * size, tile.count)

    def tile_rows(self, tile: Tile) -> dict[str, int]:
        """The rows of a tile: those that are alive, if some may not be."""
        return live_rows(tile.first) if self.selected else rows(tile.count)

    def row_limit(self, step: Step) -> int:
        """How many of the live rows are a tile's."""
        return step.tile.count if step.tile and self.selected else 0

    def norm_regions(self, step: Step, layer: Norm) -> tuple[Region, Region]:
        """Source and target of a LayerNorm: all rows, or those of its tile."""
        mlp = layer.name.endswith("norm2")
        source, target = self.plan.regions["residual"], self.plan.region("norm", step.block, mlp)
        if step.tile and not layer.for_head:
            return rows_of_tile(source, step.tile), rows_of_tile(target, step.tile)
        return source, target

    def norm_operands(self, layer: Norm, source: Region, target: Region) -> dict[str, Any]:
        """A LayerNorm's fields but its rows."""
        return {
            "source": source.base,
            "source_stride": source.stride,
            "target": target.base,
            "target_stride": target.stride,
            "channels": self.shape.embed_dim,
            "table": self.number_of(layer) % self.plan.norm_slots * self.plan.norm_tables,
            "epsilon": layer.epsilon,
            "fraction_bits": NORM.fraction_bits(self.shape.embed_dim),
        }

    def number_of(self, layer: Norm) -> int:
        """Which of the LayerNorms."""
        return next(n for n, other in enumerate(self.norms) if other is layer)

    def operands(self, step: Step, layer: Linear, block: Block) -> dict[str, Any]:
        """Source, target and rows of a column block."""
        source, destination, count = self.source(step, layer), layer.destination, live_rows()
        if block.keeps:
            destination, region = Destination.PARTIAL, self.plan.regions["sums"]
            target, stride = region.base, region.stride
        elif layer.destination == Destination.ROWS:
            base = self.plan.key_row if layer.role == Role.KEY else self.plan.value_row
            target, stride = base + block.word, self.lowered.packing.head_words
        else:
            region = self.target(step, layer)
            target, stride = region.base + block.word, region.stride
        if step.tile:
            count = self.tile_rows(step.tile)
        elif layer.role == Role.PATCH:
            count = live_rows(self.shape.prefix_tokens)
        elif layer.role == Role.SUMS:
            count = rows(1)
        elif layer.role in (Role.POOL, Role.GLOBAL):
            count, stride = live_rows(self.shape.prefix_tokens), 1
        elif layer.role == Role.HEAD:
            count, stride = rows(1), 0
        first_word = layer.source_word + block.first_input // self.plan.config.lanes
        return {
            "source": source.base + first_word,
            "source_stride": source.stride,
            "rows": count,
            "destination": destination,
            "target": target,
            "target_stride": stride,
        }

    def source(self, step: Step, layer: Linear) -> Region:
        """The rows a layer or its tile reads."""
        if layer.role == Role.PATCH and step.tile:
            return self.patch_buffer(step.tile)
        region = self.plan.region(layer.source, step.block, layer.role == Role.FC1)
        if layer.role == Role.POOL:
            return copied_rows(self.shape, region, self.plan.config.lanes)
        if layer.role == Role.GLOBAL:
            prefix = self.shape.prefix_tokens
            return rows_of(region, prefix, region.rows - prefix)
        if step.tile and layer.source != "hidden":
            return rows_of_tile(region, step.tile)
        return region

    def target(self, step: Step, layer: Linear) -> Region:
        """The rows of token memory a layer or its tile writes; patches lie behind the prefix."""
        region = self.plan.region(layer.target, step.block)
        if step.tile and layer.target != "hidden":
            region = rows_of_tile(region, step.tile)
        prefix = self.shape.prefix_tokens if layer.role == Role.PATCH else 0
        return rows_of(region, prefix, region.rows - prefix)
