"""A small AXI4 slave for the DMA benches: latency, stalls, error injection, protocol checks.

cocotbext-axi is the independent model; this one adds what it lacks (a latency in cycles, error
responses by address) and fails the test when the master breaks a rule of the protocol.
"""

import random
from collections import deque
from typing import Any

from sim.bench import seeded

__all__ = ["ReadSlave", "WriteSlave"]

_PAGE_BYTES = 4096


class _Slave:
    """What both directions share: `memory` (bytearray from address 0), one loop a cycle."""

    def __init__(
        self,
        dut: Any,
        prefix: str,
        memory: bytearray,
        *,
        bus_bits: int,
        latency: int = 1,
        stall: float = 0.0,
        seed: int = 0,
    ) -> None:
        import cocotb

        self.dut, self.prefix, self.memory = dut, prefix, memory
        self.bus_bytes = bus_bits // 8
        self.latency, self.stall = latency, stall
        self.random = random.Random(f"{prefix}/{type(self).__name__}/{seeded(seed)}")
        self.errors: set[int] = set()
        """Byte addresses of bursts (writes) or beats (reads) answered with SLVERR."""
        self.bursts: list[tuple[int, int]] = []
        """(address, beats) of every accepted burst."""
        self.cycle = 0
        self._held: dict[str, tuple[int, ...]] = {}
        self._idle()
        cocotb.start_soon(self._run())

    def port(self, name: str) -> Any:
        return getattr(self.dut, f"{self.prefix}__{name}")

    def get(self, name: str) -> int:
        return int(self.port(name).value)

    def stalled(self) -> bool:
        return self.stall > 0 and self.random.random() < self.stall

    def steady(self, channel: str, valid: str, ready: str, payload: tuple[str, ...]) -> None:
        """Fail when `valid` fell, or the payload changed, before the transfer."""
        now = tuple(self.get(name) for name in payload) if self.get(valid) else ()
        before = self._held.get(channel)
        if before is not None and now != before:
            raise AssertionError(f"{channel} changed before it was accepted: {before} -> {now}")
        if now and not self.get(ready):
            self._held[channel] = now
        else:
            self._held.pop(channel, None)

    def burst(self, channel: str) -> tuple[int, int]:
        """(address, beats) on an address channel, checked."""
        address, beats = self.get(f"{channel}addr"), self.get(f"{channel}len") + 1
        assert address % self.bus_bytes == 0, f"unaligned burst at {address:#x}"
        assert self.get(f"{channel}burst") == 1, "not an INCR burst"
        assert 1 << self.get(f"{channel}size") == self.bus_bytes, "not a full-width burst"
        assert self.get(f"{channel}id") == 0, "id is not 0"
        last = address + beats * self.bus_bytes - 1
        assert address // _PAGE_BYTES == last // _PAGE_BYTES, f"4 KiB crossed at {address:#x}"
        self.bursts.append((address, beats))
        return address, beats

    def _idle(self) -> None:
        raise NotImplementedError

    def _drive(self) -> None:
        raise NotImplementedError

    def _sample(self) -> None:
        raise NotImplementedError

    async def _run(self) -> None:
        from cocotb.triggers import FallingEdge, ReadOnly

        while True:
            self._drive()
            await ReadOnly()
            self._sample()
            await FallingEdge(self.dut.clk)
            self.cycle += 1


class ReadSlave(_Slave):
    """Answers AR bursts in order, the first beat `latency` cycles after its address."""

    def _idle(self) -> None:
        self.beats: deque[tuple[int, int, int]] = deque()
        self.offered = False
        for name in ("arready", "rvalid", "rid"):
            self.port(name).value = 0

    @property
    def outstanding(self) -> int:
        """Beats announced and not yet taken."""
        return len(self.beats)

    def _drive(self) -> None:
        self.port("arready").value = int(not self.stalled())
        if not self.offered and self.beats and self.beats[0][0] <= self.cycle:
            self.offered = not self.stalled()
        self.port("rvalid").value = int(self.offered)
        if self.offered:
            _, address, last = self.beats[0]
            word = self.memory[address : address + self.bus_bytes]
            self.port("rdata").value = int.from_bytes(word, "little")
            self.port("rlast").value = last
            self.port("rresp").value = 2 if address in self.errors else 0

    def _sample(self) -> None:
        self.steady("AR", "arvalid", "arready", ("araddr", "arlen"))
        if self.get("arvalid") and self.get("arready"):
            address, beats = self.burst("ar")
            due = self.cycle + self.latency
            for beat in range(beats):
                self.beats.append((due, address + beat * self.bus_bytes, int(beat == beats - 1)))
        if self.offered and self.get("rready"):
            self.beats.popleft()
            self.offered = False


class WriteSlave(_Slave):
    """Takes data before or after addresses; responds `latency` cycles after a burst's last beat."""

    def _idle(self) -> None:
        self.addresses: deque[tuple[int, int]] = deque()
        self.data: deque[tuple[int, int, int]] = deque()
        self.responses: deque[tuple[int, int]] = deque()
        self.offered = False
        self.written = 0
        """Beats with a strobe."""
        for name in ("awready", "wready", "bvalid", "bid"):
            self.port(name).value = 0

    def _drive(self) -> None:
        self.port("awready").value = int(not self.stalled())
        self.port("wready").value = int(not self.stalled())
        if not self.offered and self.responses and self.responses[0][0] <= self.cycle:
            self.offered = not self.stalled()
        self.port("bvalid").value = int(self.offered)
        if self.offered:
            self.port("bresp").value = self.responses[0][1]

    def _sample(self) -> None:
        self.steady("AW", "awvalid", "awready", ("awaddr", "awlen"))
        self.steady("W", "wvalid", "wready", ("wdata", "wstrb", "wlast"))
        if self.get("awvalid") and self.get("awready"):
            self.addresses.append(self.burst("aw"))
        if self.get("wvalid") and self.get("wready"):
            self.data.append((self.get("wdata"), self.get("wstrb"), self.get("wlast")))
        if self.offered and self.get("bready"):
            self.responses.popleft()
            self.offered = False
        while self.addresses and len(self.data) >= self.addresses[0][1]:
            address, beats = self.addresses.popleft()
            for beat in range(beats):
                word, strobes, last = self.data.popleft()
                assert last == (beat == beats - 1), f"wlast is {last} on beat {beat} of {beats}"
                assert strobes in (0, (1 << self.bus_bytes) - 1), f"strange strobes {strobes:#x}"
                if strobes:
                    at = address + beat * self.bus_bytes
                    self.memory[at : at + self.bus_bytes] = word.to_bytes(self.bus_bytes, "little")
                    self.written += 1
            self.responses.append((self.cycle + self.latency, 2 if address in self.errors else 0))
