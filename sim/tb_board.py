"""A whole board through its serial line: cocotbext-uart at the wires, the host's own code behind.

What a test needs comes from a folder that `sim.board` fills; each test of the suite is run on its
own, so it begins with a board as it was configured.
"""

import random
from typing import Any

import cocotb
from cocotb.task import bridge

from host.board_device import BoardDevice
from host.board_twin import BoardTwin
from host.errors import LinkError, MachineFaultError
from host.frames import Request
from host.selftest import selftest as checks_of
from rtl_gen.link.register_port import POLL_CYCLES
from sim.bench import cycles, seeded
from sim.board import CLOCK_HZ, CYCLES_PER_BIT
from sim.board_bench import BYTE_CYCLES, Bench
from sim.board_frames import broken_frames
from spec.isa import Window
from spec.link import MAX_WORDS, REGISTERS_AT, REPLY_HEADER_BYTES, Operation
from spec.presets import preset
from spec.registers import REGISTERS, Control, Error, window_address

_FEW_CYCLES = 400


@cocotb.test()
async def images(dut: Any) -> None:
    """An image that is in the memory from the start; pictures in any order, also one twice."""
    bench = await Bench.begin(dut)

    def host() -> None:
        identity = bench.driver.identify()
        assert identity.memory_bytes == bench.request["memory_bytes"]
        assert identity.clock_hz == CLOCK_HZ
        assert not bench.driver.load(bench.image), "the memory holds the image, yet it was sent"
        for number in bench.request["order"]:
            counters = bench.infer(number)
            if "cycles" in bench.request:
                got, expected = counters["cycles"], bench.request["cycles"]
                assert got == expected, f"board: {got} cycles, predicted were {expected}"
        assert bench.link.retries == 0, f"{bench.link.retries} retries on a good line"

    await bridge(host)()


@cocotb.test()
async def models(dut: Any) -> None:
    """Another model over the line, and the first one again."""
    bench = await Bench.begin(dut, 12_000_000)

    def host() -> None:
        assert bench.driver.load(bench.other()), "another image was taken for the first"
        bench.infer(0, bench.other_logits)
        assert not bench.driver.load(bench.other()), "the image was sent twice"
        assert bench.driver.load(bench.image), "the first image was not sent again"
        bench.infer(0)

    await bridge(host)()


@cocotb.test()
async def selftest(dut: Any) -> None:
    """What `sievit selftest` does to a board."""
    bench = await Bench.begin(dut, 16_000_000)

    def host() -> None:
        device = BoardDevice(bench.driver)
        for check in checks_of(device, preset("tiny"), bench.image, bench.inputs[:2]):
            assert check.ok, f"{check.name}: {check.detail}"

    await bridge(host)()


@cocotb.test()
async def broken(dut: Any) -> None:
    """Everything that is no frame: answered as the twin does, and the next picture is right."""
    bench = await Bench.begin(dut)
    twin = BoardTwin(
        preset("tiny"), bench.request["memory_bytes"], clock_hz=CLOCK_HZ, content=bench.content()
    )
    count = 0
    for name, parts in broken_frames(random.Random(seeded(1)), bench.request["memory_bytes"]):
        expected = b""
        for part in parts:
            if part is None:
                # A start bit, 8 bits and no stop bit
                await bench.line.hold(0, BYTE_CYCLES)
                await bench.line.hold(1, 2 * CYCLES_PER_BIT)
                expected += twin.framing_error()
            else:
                await bench.line.send(part)
                expected += twin.receive(part)
        await bench.silence()
        expected += twin.silence()
        got = await bench.line.receive(len(expected) + 1, len(expected) * BYTE_CYCLES + _FEW_CYCLES)
        assert got == expected, f"{name}: got {got.hex()}, expected {expected.hex()}"
        count += 1
    assert count > 10
    await bridge(lambda: bench.driver.load(bench.image))()
    await bridge(lambda: bench.infer(1))()
    identity = await bridge(bench.driver.identify)()
    assert (identity.broken_frames, twin.broken_frames > 8) == (twin.broken_frames, True)


@cocotb.test()
async def noise(dut: Any) -> None:
    """A bad line: bytes lost, changed and added between and in frames; the host gets through."""
    bench = await Bench.begin(dut, 6_000_000)
    rng = random.Random(seeded(2))
    send, spoiled = bench.line.send, 0

    async def spoil(content: bytes) -> None:
        nonlocal spoiled
        kind = rng.randrange(10)
        at = rng.randrange(len(content))
        if kind == 0:
            content = content[:at] + content[at + 1 :]
        elif kind == 1:
            content = (
                content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
            )
        elif kind == 2:
            content = rng.randbytes(rng.randint(1, 20)) + content
        spoiled += kind < 3
        await send(content)

    bench.line.send = spoil

    def host() -> None:
        bench.driver.load(bench.image)
        for number in bench.request["order"]:
            bench.infer(number)

    await bridge(host)()
    assert spoiled > 2, f"only {spoiled} frames were spoiled"
    assert bench.link.retries > 0, "no retry on a bad line"


@cocotb.test()
async def line_break(dut: Any) -> None:
    """A break in the middle of a frame, and a long one between frames."""
    bench = await Bench.begin(dut)
    frame = Request(
        tag=7, operation=Operation.READ, address=REGISTERS_AT, count=1, payload=b""
    ).encode()
    await bench.line.send(frame[:5])
    await bench.line.hold(0, 50 * BYTE_CYCLES)
    assert bench.line.sink.empty(), "an answer while the line is not silent"
    await bench.silence()
    got = await bench.line.receive(REPLY_HEADER_BYTES + 2, 20 * BYTE_CYCLES)
    assert got[1:4] == b"\x07\x06\0", f"got {got.hex()}"
    await bench.line.hold(0, 50 * BYTE_CYCLES)
    await bench.silence()
    assert bench.line.sink.empty(), "an answer to a break between frames"
    await bridge(lambda: bench.driver.load(bench.image))()
    await bridge(lambda: bench.infer(0))()


@cocotb.test()
async def resets(dut: Any) -> None:
    """Reset in a frame, in a reply and in a run: the next request is answered, the memory stays."""
    bench = await Bench.begin(dut)
    ask = Request(tag=1, operation=Operation.READ, address=0, count=MAX_WORDS).encode()
    for part in (ask[:4], ask):
        await bench.line.send(part)
        await cycles(dut, 5 * BYTE_CYCLES)
        await bench.reset()
        await cycles(dut, 11 * BYTE_CYCLES)
        bench.line.sink.clear()
        value = await bridge(lambda: bench.link.read_words(REGISTERS_AT, 1))()
        assert value[0] == bench.request["id"], hex(value[0])

    def begin() -> None:
        assert not bench.driver.load(bench.image)
        bench.infer(1)
        bench.link.write_words(REGISTERS_AT + REGISTERS["CONTROL"], [Control.CLEAR.value])
        memory = bench.memory()
        for window in Window:
            words = [memory.bases[window], memory.limits[window]]
            bench.link.write_words(REGISTERS_AT + window_address(window)[0], words)
        bench.link.write_words(REGISTERS_AT + REGISTERS["CONTROL"], [Control.START.value])

    def after() -> None:
        status = bench.link.read_words(REGISTERS_AT + REGISTERS["STATUS"], 1)[0]
        assert status == 0, f"STATUS {status:#x} after reset"
        bench.driver.check_header()
        bench.infer(0)

    await bridge(begin)()
    await cycles(dut, POLL_CYCLES + 100)
    assert int(dut.busy.value) == 1, "the run was over before the reset"
    await bench.reset()
    await cycles(dut)
    assert int(dut.busy.value) == 0
    await bridge(after)()


@cocotb.test()
async def lamps(dut: Any) -> None:
    """`busy`, `done`, `error` and `activity`, as a program that never ends and a good one go."""
    bench = await Bench.begin(dut)
    seen: dict[str, int] = dict.fromkeys(("busy", "done", "error", "activity"), 0)

    async def watch() -> None:
        while True:
            await cycles(dut, 50)
            for name in seen:
                seen[name] += int(getattr(dut, name).value)

    cocotb.start_soon(watch())
    await cycles(dut, 2000)
    assert not any(seen.values()), seen

    def good() -> None:
        bench.driver.load(bench.image)
        bench.infer(0)

    await bridge(good)()
    assert seen["busy"], "busy never rose"
    assert seen["done"], "done never rose"
    assert seen["activity"], "activity never rose"
    assert not seen["error"], "error in a good run"


@cocotb.test()
async def corrupt(dut: Any) -> None:
    """A program with a bad opcode: the error in words, and once it is repaired a right picture."""
    bench = await Bench.begin(dut)
    at = bench.memory().bases[Window.PROGRAM]

    def host() -> None:
        bench.driver.load(bench.image)
        good = bench.link.read(at, 4)
        bench.link.write(at, bytes([good[0] ^ 0xFF]) + good[1:])
        found = None
        try:
            bench.infer(0)
        except MachineFaultError as error:
            found = error
        assert found is not None, "a bad program ran"
        assert (found.code, found.pc) == (Error.OPCODE, 0), str(found)
        assert "the machine stopped at instruction 0" in str(found), str(found)
        bench.link.write(at, good)
        bench.infer(0)

    await bridge(host)()


@cocotb.test()
async def silent(dut: Any) -> None:
    """A board held in reset does not answer: an error in words, and after reset all is well."""
    bench = await Bench.begin(dut)
    dut.rst.value = 1

    def ask() -> str:
        try:
            bench.driver.identify()
        except LinkError as error:
            return str(error)
        return ""

    text = await bridge(ask)()
    assert "does not answer" in text, text
    dut.rst.value = 0
    await cycles(dut, 10)
    await bridge(bench.driver.identify)()


@cocotb.test()
async def flipped(dut: Any) -> None:
    """One bit of a reply flipped on the line is asked again; this test's answer is right."""
    bench = await Bench.begin(dut)

    def host() -> None:
        bench.driver.load(bench.image)
        bench.line.flip = 35
        bench.infer(0)

    await bridge(host)()
    assert bench.line.flip is None
    assert bench.link.retries == 1, f"{bench.link.retries} retries"


@cocotb.test()
async def liar(dut: Any) -> None:
    """One bit of the logits flipped behind the checksum: the comparison must fail."""
    bench = await Bench.begin(dut)
    read, base = bench.link.read, bench.memory().bases[Window.RESULT]

    def lie(address: int, size: int) -> bytes:
        content = bytearray(read(address, size))
        if address == base:
            content[0] ^= 1
        return bytes(content)

    bench.link.read = lie

    def host() -> None:
        bench.driver.load(bench.image)
        bench.infer(0)

    await bridge(host)()
