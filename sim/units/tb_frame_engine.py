"""Bench of `rtl_gen.link.frame_engine` against its twin, the board in software.

The bench is line, memory and registers; registers are those of a second twin.
"""

import random
from typing import Any

import cocotb

from host.board_twin import BoardTwin
from host.frames import Request
from rtl_gen.link.frame_engine import FrameEngine
from rtl_gen.link.interfaces import RECEIVED
from sim.bench import cycles, parameters, seeded, start
from sim.board_frames import Parts, broken_frames
from sim.streams import Sink, check, write
from spec.isa import Window
from spec.link import BOARD_REGISTERS, LINK_MAGIC, LINK_VERSION, REGISTERS_AT, Operation
from spec.presets import preset
from spec.registers import REGISTERS, window_address

PARAMETERS = [
    {"memory_bytes": 1024, "timeout_cycles": 40},
    {"memory_bytes": 100, "timeout_cycles": 100},
]
_CLOCK_HZ = 12_345_678
_BYTE_CYCLES = 12


def component(memory_bytes: int, timeout_cycles: int) -> FrameEngine:
    """Build the unit under test."""
    return FrameEngine(memory_bytes=memory_bytes, timeout_cycles=timeout_cycles)


class _Bench:
    def __init__(self, dut: Any, stall: float) -> None:
        self.dut = dut
        self.random = random.Random(f"frames/{seeded(1)}")
        self.memory_bytes = parameters()["memory_bytes"]
        content = self.random.randbytes(self.memory_bytes)
        self.memory = bytearray(content)
        self.twin, self.peer = (
            BoardTwin(preset("tiny"), self.memory_bytes, content=content, clock_hz=_CLOCK_HZ)
            for _ in range(2)
        )
        self.sink = Sink(dut, "o", 8, stall=stall)
        self.written: list[tuple[str, int]] = []
        cocotb.start_soon(self._serve("memory", self._memory))
        cocotb.start_soon(self._serve("registers", self._register))

    def _memory(self, address: int, data: int | None) -> int:
        at = 4 * address
        check("frame_engine address", at < self.memory_bytes, True, of=at)
        if data is not None:
            self.memory[at : at + 4] = data.to_bytes(4, "little")
        return int.from_bytes(self.memory[at : at + 4], "little")

    def _register(self, address: int, data: int | None) -> int:
        at = 4 * address
        board = {
            "LINK_ID": LINK_MAGIC,
            "LINK_VERSION": LINK_VERSION,
            "MEMORY_BYTES": self.memory_bytes,
            "CLOCK_HZ": _CLOCK_HZ,
            "BROKEN_FRAMES": int(self.dut.broken_frames.value),
        }
        for name, place in BOARD_REGISTERS.items():
            if at == place:
                return board[name]
        if data is not None:
            self.peer.machine.write(at, data)
            return 0
        return self.peer.machine.read(at)

    async def _serve(self, name: str, access: Any) -> None:
        """Answer a port after 1 to 6 cycles."""
        dut = self.dut
        valid, done = getattr(dut, f"{name}__valid"), getattr(dut, f"{name}__done")
        while True:
            if not int(valid.value):
                await cycles(dut)
                continue
            await cycles(dut, self.random.randrange(6))
            check(f"frame_engine {name}.valid stays", int(valid.value), 1)
            address = int(getattr(dut, f"{name}__address").value)
            writes = int(getattr(dut, f"{name}__write").value)
            data = int(getattr(dut, f"{name}__data").value) if writes else None
            if writes:
                self.written.append((name, address))
            getattr(dut, f"{name}__value").value = access(address, data)
            done.value = 1
            await cycles(dut)
            done.value = 0
            getattr(dut, f"{name}__value").value = self.random.getrandbits(32)

    async def byte(self, byte: int, framing: int = 0) -> None:
        dut = self.dut
        dut.active.value = 1
        await cycles(dut, self.random.randrange(1, _BYTE_CYCLES))
        write(dut, "i", RECEIVED, {"byte": byte, "framing": framing})
        dut.i_valid.value = 1
        await cycles(dut)
        dut.i_valid.value = 0
        dut.active.value = 0
        # Shorter than the time-out
        await cycles(dut, self.random.randrange(1, parameters()["timeout_cycles"] - 2))

    async def case(self, name: str, parts: Parts) -> None:
        """Bytes, then silence: the same answer, the same memory."""
        expected = b""
        for part in parts:
            if part is None:
                await self.byte(self.random.randrange(256), framing=1)
                expected += self.twin.framing_error()
                continue
            for byte in part:
                await self.byte(byte)
            expected += self.twin.receive(part)
        expected += self.twin.silence()
        got = bytes(await self.sink.receive(len(expected)))
        await cycles(self.dut, 3 * parameters()["timeout_cycles"])
        check("frame_engine", got.hex(), expected.hex(), of=name)
        check("frame_engine bytes too many", len(self.sink.received), 0, of=name)
        check("frame_engine memory", self.memory.hex(), self.twin.memory.hex(), of=name)
        check(
            "frame_engine.broken_frames",
            int(self.dut.broken_frames.value),
            self.twin.broken_frames,
            of=name,
        )


@cocotb.test()
async def no_frames(dut: Any) -> None:
    """Each way to be wrong; nothing is written by what is answered with an error."""
    await start(dut, 600_000)
    bench = _Bench(dut, 0.3)
    for name, parts in broken_frames(random.Random(seeded(2)), bench.memory_bytes):
        bench.written.clear()
        broken = bench.twin.broken_frames
        await bench.case(name, parts)
        if bench.twin.broken_frames > broken:
            check("frame_engine writes", bench.written, [], of=name)


@cocotb.test()
async def frames(dut: Any) -> None:
    """Random good requests to memory and registers, and some that reach beyond."""
    await start(dut, 2_000_000)
    bench = _Bench(dut, 0.6)
    rng = random.Random(seeded(3))
    places = [
        REGISTERS["WATCHDOG"],
        *(window_address(window)[0] for window in Window),
        *BOARD_REGISTERS.values(),
        0xFF0,
    ]
    most = min(bench.memory_bytes // 4, 64)
    for index in range(60):
        register = rng.random() < 0.4
        count = rng.choice((1, 2, rng.randint(1, most), most))
        address = 4 * rng.randrange(bench.memory_bytes // 4 - count + 1)
        if register:
            count = rng.randint(1, 2)
            address = REGISTERS_AT + rng.choice(places)
        elif rng.random() < 0.1:
            address += rng.choice((1, 2, 4 * count))
        operation = rng.choice(list(Operation))
        payload = rng.randbytes(4 * count) if operation == Operation.WRITE else b""
        request = Request(
            tag=rng.randrange(256),
            operation=operation,
            address=address,
            count=count,
            payload=payload,
        )
        noise = bytes(b for b in rng.randbytes(rng.randrange(4)) if b != 0x53)
        await bench.case(f"{index}: {request}", [noise + request.encode()])


@cocotb.test()
async def noise(dut: Any) -> None:
    """Random bytes, many of them START, then a good request: it is answered."""
    await start(dut, 600_000)
    bench = _Bench(dut, 0.0)
    rng = random.Random(seeded(4))
    ask = Request(tag=9, operation=Operation.READ, address=0, count=1).encode()
    for index in range(40):
        text = bytes(
            rng.choice((0x53, 1, 2, 3, rng.randrange(256))) for _ in range(rng.randrange(1, 30))
        )
        await bench.case(f"noise {index}", [text])
        await bench.case(f"request behind noise {index}", [ask])


@cocotb.test()
async def reset_anywhere(dut: Any) -> None:
    """Reset in a request, while it is carried out and in the reply: the next one is answered."""
    await start(dut, 600_000)
    rng = random.Random(seeded(5))
    bench = _Bench(dut, 0.5)
    count = min(bench.memory_bytes // 4, 16)
    frame = Request(tag=1, operation=Operation.READ, address=0, count=count).encode()
    for index in range(30):
        for byte in frame[: rng.randint(1, len(frame))]:
            await bench.byte(byte)
        await cycles(dut, rng.randrange(200))
        # Nothing is taken in the cycle before, so that the sink sees no change of a waiting byte
        bench.sink.check = False
        dut.rst.value = 1
        await cycles(dut, 2)
        dut.rst.value = 0
        await cycles(dut, 8)
        bench.sink.check = True
        bench.sink.received.clear()
        bench.twin.reset()
        await bench.case(f"after reset {index}", [frame])
