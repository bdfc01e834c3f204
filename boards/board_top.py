"""The top of a board: clock, reset and pins around `rtl_gen.board.Board`."""

from amaranth.build.plat import TemplatedPlatform
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from boards.board_file import BoardFile
from boards.pll import pll, pll_settings
from rtl_gen.board import Board
from spec.config import Config

__all__ = ["BoardTop"]


class BoardTop(Elaboratable):
    """One board's design; elaborate it with the board's platform.

    config : the machine; None leaves it out, and what remains is the link with its memory
    content : the first bytes of the memory when the bitstream has been loaded
    """

    def __init__(self, board: BoardFile, config: Config | None, content: bytes) -> None:
        self.board, self.config, self.content = board, config, content

    def elaborate(self, platform: TemplatedPlatform) -> Module:
        """Build the unit."""
        m = Module()
        board = self.board
        self._clock(m, platform)
        m.submodules.board = inner = Board(
            self.config,
            memory_bytes=board.memory_bytes,
            clock_hz=board.clock_hz,
            cycles_per_bit=round(board.clock_hz / board.baud),
            content=self.content,
        )
        uart = platform.request(board.uart, 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [inner.rx.eq(rx.i), tx.o.eq(inner.tx)]
        shown = (inner.activity, inner.busy, inner.done, inner.error)
        for number, value in zip(range(board.leds), shown, strict=False):
            pin = io.Buffer("o", platform.request("led", number, dir="-"))
            m.submodules[f"led_{number}"] = pin
            m.d.comb += pin.o.eq(value)
        return m

    def _clock(self, m: Module, platform: TemplatedPlatform) -> None:
        """Clock domain `sync`, in reset until the clock is steady and while the button is down."""
        board = self.board
        source = io.Buffer("i", platform.request(board.clock, 0, dir="-"))
        button = io.Buffer("i", platform.request(*board.reset, dir="-"))
        m.submodules.oscillator, m.submodules.button = source, button
        input_hz = round(platform.default_clk_frequency)
        m.domains.sync = ClockDomain("sync")
        ready = Signal()
        if board.clock_hz == input_hz:
            m.d.comb += [ClockSignal("sync").eq(source.i), ready.eq(1)]
        else:
            clock = Signal(name="pll_clock")
            pll(m, pll_settings(input_hz, board.clock_hz), source.i, clock, ready)
            m.d.comb += ClockSignal("sync").eq(clock)
        held = Signal()
        m.d.comb += held.eq(~ready | button.i)
        m.submodules.reset = ResetSynchronizer(held, domain="sync")
