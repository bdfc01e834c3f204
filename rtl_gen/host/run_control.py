"""The life of a run: idle, running, done or error; watchdog; what resets the core."""

from amaranth.hdl import Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ERROR
from spec.registers import Error

__all__ = ["RunControl"]


class _State(enum.Enum):
    IDLE = 0
    RUNNING = 1
    DONE = 2
    ERROR = 3


class RunControl(wiring.Component):
    """Starts and stops the core; it is held in reset whenever no program runs.

    So nothing but the memories' contents can leak from one inference to the next. An error stops
    the core in the next cycle; the bus channels, which are not reset, then drain by themselves.

    Members
    -------
    start, clear : pulses from the registers; START acts in the idle state with nothing draining.
    finished : the core has reached HALT and everything has come to rest.
    failure : an error found in the core or on the bus.
    progress : something moved in this cycle; none for `watchdog` cycles is an error of `pc`.
    draining : the bus channels still have transfers of an earlier program.
    running, begin : a program runs; its first cycle.
    done, error : the end states, error with its code and program counter.
    """

    start: In(1)
    clear: In(1)
    finished: In(1)
    failure: In(ERROR)
    progress: In(1)
    watchdog: In(32)
    pc: In(16)
    draining: In(1)
    running: Out(1)
    begin: Out(1)
    done: Out(1)
    error: Out(ERROR)

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        state = Signal(_State)
        quiet = Signal(32)
        m.d.comb += [
            self.done.eq(state == _State.DONE),
            self.error.valid.eq(state == _State.ERROR),
        ]
        m.d.sync += self.begin.eq(0)
        with m.If(self.clear):
            m.d.sync += [
                state.eq(_State.IDLE),
                self.running.eq(0),
                self.error.code.eq(Error.NONE),
                self.error.pc.eq(0),
            ]
        with m.Elif(state == _State.IDLE):
            m.d.sync += quiet.eq(0)
            with m.If(self.start & ~self.draining):
                m.d.sync += [state.eq(_State.RUNNING), self.running.eq(1), self.begin.eq(1)]
        with m.Elif(state == _State.RUNNING):
            m.d.sync += quiet.eq(quiet + 1)
            with m.If(self.progress):
                m.d.sync += quiet.eq(0)
            # `running` is a register of its own, since it resets the whole core
            with m.If(self.failure.valid):
                m.d.sync += [
                    state.eq(_State.ERROR),
                    self.running.eq(0),
                    self.error.code.eq(self.failure.code),
                    self.error.pc.eq(self.failure.pc),
                ]
            with m.Elif(quiet >= self.watchdog):
                m.d.sync += [
                    state.eq(_State.ERROR),
                    self.running.eq(0),
                    self.error.code.eq(Error.WATCHDOG),
                    self.error.pc.eq(self.pc),
                ]
            with m.Elif(self.finished):
                m.d.sync += [state.eq(_State.DONE), self.running.eq(0)]
        return m
