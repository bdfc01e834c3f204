"""The machine's registers in software, with the golden machine behind them."""

import numpy as np

from golden_model.machine import Execution, MachineError, run_program
from host.golden import work_counters
from spec.config import Config
from spec.isa import INSTRUCTION_BYTES, Opcode, Window
from spec.registers import (
    COUNTERS,
    MAGIC,
    REGISTERS,
    VERSION,
    Control,
    Error,
    Status,
    counter_address,
    window_address,
)

__all__ = ["TwinRegisters"]

_WORD = 0xFFFF_FFFF
_WATCHDOG_CYCLES = 1_000_000
"""After reset, as `rtl_gen.host.registers` has it."""
_LONGEST_WINDOW = 1 << 24
"""Of a window that leaves the memory; enough to tell a bus error from a window's."""
STORE = Opcode.STORE_TOKENS.value


class TwinRegisters:
    """The register map of `spec.registers` over a memory.

    memory : what the windows lie in; SCRATCH and RESULT are written when a program has ended well
    busy_reads : reads of STATUS that answer BUSY before a run is over

    Counters other than those of `work_counters` stay 0: the golden machine has no clock.
    """

    def __init__(self, config: Config, memory: bytearray, *, busy_reads: int = 1) -> None:
        self._config, self._memory, self._busy_reads = config, memory, busy_reads
        self._status, self._left = Status(0), 0
        self._error, self._pc = Error.NONE, 0
        self._live_tokens, self._high = 0, 0
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._writable = {REGISTERS["INTERRUPT_ENABLE"]: 0, REGISTERS["WATCHDOG"]: _WATCHDOG_CYCLES}
        self._writable |= {at: 0 for window in Window for at in window_address(window)}

    @property
    def status(self) -> Status:
        """STATUS, without the passing of time that reading the register is."""
        return self._status

    def read(self, address: int) -> int:
        """A register's 32 bits; 0 where there is none."""
        if address == REGISTERS["STATUS"]:
            return self._read_status()
        if address in self._writable:
            return self._writable[address]
        for name in COUNTERS:
            low = counter_address(name)
            if address == low:
                self._high = self._counters[name] >> 32
                return self._counters[name] & _WORD
            if address == low + 4:
                return self._high
        digest = self._config.digest()
        return {
            REGISTERS["ID"]: MAGIC,
            REGISTERS["VERSION"]: VERSION,
            REGISTERS["CONFIG_DIGEST_LOW"]: digest & _WORD,
            REGISTERS["CONFIG_DIGEST_HIGH"]: digest >> 32,
            REGISTERS["ERROR_CODE"]: self._error.value,
            REGISTERS["ERROR_PC"]: self._pc,
            REGISTERS["LIVE_TOKENS"]: self._live_tokens,
        }.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """Write a register; nothing happens where there is none."""
        if address in self._writable:
            kept = 1 if address == REGISTERS["INTERRUPT_ENABLE"] else _WORD
            self._writable[address] = value & kept
        elif address == REGISTERS["CONTROL"]:
            if value & Control.CLEAR.value:
                self._status, self._error, self._pc = Status(0), Error.NONE, 0
            elif value & Control.START.value and self._status == Status(0):
                self._status, self._left = Status.BUSY, self._busy_reads

    def _read_status(self) -> int:
        if self._status == Status.BUSY:
            if self._left == 0:
                self._run()
            self._left -= 1
        return self._status.value

    def _run(self) -> None:
        self._counters = dict.fromkeys(COUNTERS, 0)
        windows = {window: self._window(window) for window in Window}
        try:
            execution = self._execute(windows)
        except MachineError as error:
            self._status = Status.ERROR
            self._error, self._pc = self._as_seen(error, windows), max(error.pc, 0)
            return
        for window in (Window.SCRATCH, Window.RESULT):
            base = self._writable[window_address(window)[0]]
            written = execution.windows[window]
            self._memory[base : base + len(written)] = written
        self._counters |= work_counters(execution)
        self._live_tokens = execution.live_tokens
        self._status = Status.DONE

    def _execute(self, windows: dict[Window, bytes]) -> Execution:
        program = windows[Window.PROGRAM]
        whole = len(program) // INSTRUCTION_BYTES * INSTRUCTION_BYTES
        words = np.frombuffer(program[:whole], np.uint8).reshape(-1, INSTRUCTION_BYTES)
        return run_program(self._config, words, windows)

    def _window(self, window: Window) -> bytes:
        """What there is of a window in the memory."""
        base, limit = (self._writable[at] for at in window_address(window))
        return bytes(self._memory[base : base + limit])

    def _as_seen(self, error: MachineError, windows: dict[Window, bytes]) -> Error:
        """The code of an error: an access within its window but beyond the memory is the bus's."""
        limits = {window: self._writable[window_address(window)[1]] for window in windows}
        if error.code != Error.WINDOW or all(
            len(windows[window]) == limit for window, limit in limits.items()
        ):
            return error.code
        try:
            self._execute(
                {
                    window: content.ljust(min(limits[window], _LONGEST_WINDOW), b"\0")
                    for window, content in windows.items()
                }
            )
        except MachineError as again:
            if (again.code, again.pc) == (error.code, error.pc):
                return error.code
        at = error.pc * INSTRUCTION_BYTES
        opcode = windows[Window.PROGRAM][at : at + 1]
        return Error.BUS_WRITE if opcode == bytes([STORE]) else Error.BUS_READ
