"""Verilog of a whole machine, alone or on a board."""

from amaranth.back import verilog as _verilog

from rtl_gen.board import Board
from rtl_gen.top import Top
from spec.config import Config

__all__ = ["BOARD", "TOP", "board_verilog", "verilog"]

TOP = "sievit_top"
"""Name of the emitted top module."""
BOARD = "sievit_board"
"""Name of the emitted board."""


def verilog(config: Config) -> str:
    """Verilog text of the machine; the same configuration gives the same bytes."""
    return _verilog.convert(Top(config), name=TOP, strip_internal_attrs=True, emit_src=False)


def board_verilog(
    config: Config,
    *,
    memory_bytes: int,
    clock_hz: int,
    cycles_per_bit: int,
    timeout_cycles: int | None = None,
    content: bytes = b"",
) -> str:
    """Verilog text of a board (see `rtl_gen.board.Board`), module `sievit_board`."""
    board = Board(
        config,
        memory_bytes=memory_bytes,
        clock_hz=clock_hz,
        cycles_per_bit=cycles_per_bit,
        timeout_cycles=timeout_cycles,
        content=content,
    )
    return _verilog.convert(board, name=BOARD, strip_internal_attrs=True, emit_src=False)
