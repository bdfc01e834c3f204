"""ViTCoD's auto-encoder at run time: a program that spills queries to DRAM, plain or encoded.

Encode and decode mix the heads of a token channel by channel. On this machine they are fully
connected layers whose weight is the mixing matrix times the identity. No compiled network does
this, because none spills Q and K; the encoder and decoder of a model are folded into `attn.qkv`.
This program is there to measure what they would cost (ViTCoD, HPCA 2023, section IV-C).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.encoding import encode_program, encode_table
from compiler.errors import need
from compiler.packing import words
from compiler.program import Schedule, transfer
from compiler.regions import Region
from spec.assembler import rows
from spec.config import Config
from spec.image import Image, InputGeometry, ResultGeometry
from spec.isa import FULLY_CONNECTED, Activation, Destination, Opcode, Window
from spec.semaphores import Semaphore

__all__ = ["Mix", "spilled_program"]

S = Semaphore


@dataclass(frozen=True, kw_only=True)
class Mix:
    """A layer over all heads of a token: int8 weight [inputs, outputs], one requantizer."""

    weight: NDArray[np.int8]
    multiplier: int
    shift: int

    @classmethod
    def of_heads(
        cls, matrix: NDArray[np.int8], head_dim: int, multiplier: int, shift: int
    ) -> "Mix":
        """Each channel of output head j is the sum over i of matrix[i, j] times that of head i."""
        weight = np.kron(matrix, np.eye(head_dim, dtype=np.int8))
        return cls(weight=weight, multiplier=multiplier, shift=shift)


def spilled_program(
    config: Config, tokens: int, project: Mix, codes: tuple[Mix, Mix] | None = None
) -> Image:
    """A program that computes the queries of all tokens, stores them, and loads them again.

    project : from a token (the input) to its queries, all heads side by side
    codes : encoder and decoder; the codes are stored instead
    Needs widths of whole words, and all weights in row memory; `CompileError` if they do not fit.
    """
    writer = _Writer(config, tokens)
    outputs = [layer.weight.shape[1] for layer in (project, *(codes or ()))]
    source, queries, coded = (
        writer.region(name, columns)
        for name, columns in (
            ("input", project.weight.shape[0]),
            ("queries", outputs[0]),
            ("codes", outputs[1] if codes else 0),
        )
    )
    spilled = coded if codes else queries
    layers = [(project, source, queries)]
    if codes:
        layers += [(codes[0], queries, coded), (codes[1], coded, queries)]
    for layer, _, _ in layers:
        writer.load(layer)
    writer.move(Opcode.LOAD_TOKENS, source, Window.INPUT, (), (S.TOKENS_READY,))
    first, *more = layers
    writer.layer(*first, S.TOKENS_READY, S.ARRAY_DONE if codes else S.CONTEXT_READY)
    if more:
        writer.layer(*more[0], S.ARRAY_DONE, S.CONTEXT_READY)
    writer.move(Opcode.STORE_TOKENS, spilled, Window.SCRATCH, (S.CONTEXT_READY,), (S.SPILLED,))
    ready = (S.TOKENS_READY,) if codes else ()
    writer.move(Opcode.LOAD_TOKENS, spilled, Window.SCRATCH, (S.SPILLED,), ready)
    if more:
        writer.layer(*more[1], S.TOKENS_READY, None)
    return writer.image(project.weight.shape[0], spilled.size * config.lanes)


class _Writer:
    """A program, its weights, and what is taken of the memories."""

    def __init__(self, config: Config, tokens: int) -> None:
        self.config, self.tokens = config, tokens
        self.out, self.content = Schedule(), bytearray()
        self.row = self.token = self.table = self.used = 0
        self.places: list[tuple[int, int]] = []
        """Row and table of each column block, in the order of loading."""

    def region(self, name: str, columns: int) -> Region:
        """Rows of all tokens."""
        stride = words(columns, self.config.lanes)
        region = Region(
            name=name, rows=self.tokens, stride=stride, phases=frozenset(), base=self.token
        )
        self.token = region.end
        size, limit = self.token * self.config.lanes, self.config.token_words * self.config.lanes
        need(name, size, "bytes of token memory", limit, "token_words", self.config)
        return region

    def load(self, layer: Mix) -> None:
        """LOAD_WEIGHTS of all its column blocks."""
        config, (depth, columns) = self.config, layer.weight.shape
        for start in range(0, columns, config.lanes):
            fill = np.full(config.lanes, 1)
            fields = {"offset": len(self.content), "row": self.row, "depth": depth}
            table = encode_table(0 * fill, layer.multiplier * fill, layer.shift * fill)
            self.content += table + layer.weight[:, start : start + config.lanes].tobytes()
            fields |= {"table": self.table, "further_groups": 0, "live_above": 0}
            self.out.add("weights", Opcode.LOAD_WEIGHTS, fields, signal=(S.WEIGHTS_READY,))
            self.places.append((self.row, self.table))
            self.row, self.table = self.row + words(depth, config.banks), self.table + 1
        need("weights", self.row, "rows of a bank", config.row_words, "row_words", config)
        need("weights", self.table, "tables", config.column_tables, "column_tables", config)

    def layer(
        self, layer: Mix, source: Region, target: Region, wait: Semaphore, signal: Semaphore | None
    ) -> None:
        """FULLY_CONNECTED of all its column blocks: the first waits, the last gives a credit."""
        depth, columns = layer.weight.shape
        count = words(columns, self.config.lanes)
        for number in range(count):
            row, table = self.places[self.used]
            self.used += 1
            fields = dict.fromkeys(FULLY_CONNECTED.members, 0) | {
                "source": source.base,
                "source_stride": source.stride,
                "depth": depth,
                "row": row,
                "table": table,
                "columns": self.config.lanes,
                "rows": rows(self.tokens),
                "destination": Destination.TOKENS,
                "target": target.base + number,
                "target_stride": target.stride,
                "activation": Activation.NONE,
            }
            gives = {signal} if signal is not None and number == count - 1 else set()
            self.out.add(
                target.name,
                Opcode.FULLY_CONNECTED,
                fields,
                wait={S.WEIGHTS_READY} | ({wait} if number == 0 else set()),
                signal=gives,
            )

    def move(
        self,
        opcode: Opcode,
        region: Region,
        window: Window,
        wait: tuple[Semaphore, ...],
        signal: tuple[Semaphore, ...],
    ) -> None:
        """A transfer of all rows."""
        self.out.add(region.name, opcode, transfer(region, window, 0), wait=wait, signal=signal)

    def image(self, columns: int, scratch_bytes: int) -> Image:
        """The whole, behind a HALT."""
        self.out.add("end", Opcode.HALT, {"skipped": 0})
        config = self.config
        row_bytes = words(columns, config.lanes) * config.lanes
        return Image(
            program=encode_program(self.out),
            weights=np.frombuffer(bytes(self.content), np.uint8),
            config_name=config.name,
            config_digest=config.digest(),
            model_digest="",
            model={},
            input=InputGeometry(rows=self.tokens, columns=columns, row_bytes=row_bytes),
            result=ResultGeometry(classes=0, words=0, word_bytes=config.lanes),
            scratch_bytes=scratch_bytes,
            tensors={},
            names=tuple(self.out.names),
        )
