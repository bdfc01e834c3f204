"""The array's issue stage against passes spelled out in Python: scalars, vectors, marks, MACs."""

import random
from typing import Any

import cocotb
from amaranth.hdl import signed
from amaranth.lib import data, wiring
from cocotb.triggers import ReadOnly

from rtl_gen.interfaces import ADDRESS_BITS, step_layout
from rtl_gen.sequencer.array_step import ArrayStep, pass_layout
from rtl_gen.sequencer.operand_reader import operand_layout
from sim.bench import cycles, parameters, seeded, start
from sim.streams import check, read, write

PARAMETERS = [
    {"banks": 4, "lanes": 8, "prob_words": 16, "sparse": True},
    {"banks": 2, "lanes": 2, "prob_words": 8, "sparse": False},
]


def component(*, banks: int, lanes: int, prob_words: int, sparse: bool) -> wiring.Component:
    """The component under test."""
    return ArrayStep(banks=banks, lanes=lanes, prob_words=prob_words, sparse=sparse)


def _byte(rng: random.Random) -> int:
    return rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


class _Pass:
    """One pass: settings of its instruction, its operand words, and its steps with their results.

    Every step has `step` (the stream's payload), `word` (index of its operand word, or None),
    `frees` (the word is used for the last time), `scalars` (None: of the ring), `macs`.
    The steps of a `sparse` pass carry their scalars; any banks take part in them, perhaps none.
    """

    def __init__(self, rng: random.Random, kind: str, sparse: bool) -> None:
        p = parameters()
        banks, lanes = p["banks"], p["lanes"]
        self.kind, self.sparse = kind, sparse
        self.zero_point = rng.choice((-128, 127, 0, rng.randint(-128, 127)))
        self.columns = rng.choice((1, lanes, rng.randint(1, lanes)))
        self.head_dim = rng.randint(1, 3 * lanes)
        self.head_words = -(-self.head_dim // lanes)
        self.word = rng.randrange(self.head_words)
        self.prob_address = rng.randrange(p["prob_words"])
        count = rng.choice((1, banks, lanes, lanes + 1, 3 * lanes, rng.randint(1, 40)))
        fully_connected = kind == "fc" and not sparse
        inner = self.head_words if kind == "scores" else 1
        channels = [_byte(rng) for _ in range(-(-count // lanes) * lanes)]
        self.words = []
        if fully_connected:
            rows = [channels[at : at + lanes] for at in range(0, len(channels), lanes)]
            self.words = [int.from_bytes(bytes(row), "little") for row in rows]
        groups = -(-count // banks)
        self.steps = []
        for group in range(groups):
            for word in range(inner):
                part = [group * banks + b < count for b in range(banks)]
                if sparse:
                    part = [rng.random() < 0.6 for _ in range(banks)]
                own_scalars = [rng.choice((-255, 255, rng.randint(-255, 255))) for _ in part]
                step = {
                    "address": [rng.randrange(1 << ADDRESS_BITS) for _ in range(banks)],
                    "valid": sum(1 << b for b in range(banks) if part[b]),
                    "scalar": [group] * banks,
                    "word": word,
                    "first": int(group == 0 and word == 0),
                    "last": int(group == groups - 1 and word == inner - 1),
                    "group_first": int(word == 0),
                    "group_last": int(word == inner - 1),
                }
                if p["sparse"]:
                    step |= {"sparse": int(sparse), "code": own_scalars}
                own = self.columns
                if kind != "fc":
                    at = word if kind == "scores" else self.word
                    own = min(lanes, self.head_dim - at * lanes)
                scalars: list[int | None] = list(own_scalars) if sparse else []
                for bank in range(banks if fully_connected else 0):
                    code = channels[group * banks + bank] if part[bank] else 0
                    code -= 256 * (code > 127)
                    scalars.append(code - self.zero_point if part[bank] else None)
                channel = group * banks
                final = (channel + banks) % lanes == 0 or step["last"]
                self.steps.append(
                    {
                        "step": step,
                        "word": channel // lanes if fully_connected else None,
                        "frees": bool(fully_connected and final),
                        "scalars": scalars or None,
                        "macs": sum(part) * own,
                    }
                )

    def current(self) -> dict[str, Any]:
        """Return the payload of `current`."""
        row = {"address": self.prob_address, "words": 1}
        kinds = {"reduce": int(self.kind == "scores"), "value": int(self.kind == "value")}
        return {**kinds, "final": 0, "word": self.word, "prob_row": row}


async def _run(dut: Any, seed: int, give: float, words: float, advance: float) -> None:
    """Random passes of all kinds; every cycle's outputs are compared."""
    await start(dut)
    p = parameters()
    banks, lanes = p["banks"], p["lanes"]
    rng = random.Random(f"array_step/{seeded(seed)}")
    kinds = [(kind, False) for kind in ("fc", "scores", "value") for _ in range(10)]
    if p["sparse"]:
        kinds += [(kind, True) for kind in ("fc", "value") for _ in range(10)]
    rng.shuffle(kinds)
    bytes_layout = data.ArrayLayout(8, banks)
    vector_layout = data.ArrayLayout(signed(8), lanes)
    array: dict[str, Any] = {"step_valid": 0}  # what the PE array sees in this cycle
    prob_data = [0] * banks
    cycle = counted = 0

    def same(name: str, got: Any, expected: Any) -> None:
        check(f"array_step.{name}", got, expected, seed=seed, index=cycle)

    for item in [_Pass(rng, *kind) for kind in kinds]:
        position, freed, offered, word_there = 0, 0, False, False
        write(dut, "current", pass_layout(p["prob_words"]), item.current())
        write(dut, "zero_point", signed(8), item.zero_point)
        dut.lanes_valid.value = item.columns
        dut.head_dim.value = item.head_dim
        dut.attention.value = int(item.kind != "fc")
        while position < len(item.steps):
            now = item.steps[position]
            offered = offered or rng.random() < give
            word_there = freed < len(item.words) and (word_there or rng.random() < words)
            free = int(rng.random() < advance)
            vector = [rng.choice((-128, 127, rng.randint(-128, 127))) for _ in range(lanes)]
            dut.step__valid.value = int(offered)
            write(dut, "step__payload", step_layout(banks, p["sparse"]), now["step"])
            dut.words__valid.value = int(word_there)
            word = item.words[freed] if word_there else rng.getrandbits(lanes * 8)
            last = int(freed == len(item.words) - 1)
            write(dut, "words__payload", operand_layout(lanes), {"data": word, "last": last})
            write(dut, "vector", vector_layout, vector)
            write(dut, "array__prob_data", bytes_layout, prob_data)
            dut.array__advance.value = free
            await ReadOnly()

            can = bool(free and (item.kind != "fc" or item.sparse or word_there))
            fires = can and offered
            same("step.ready", read(dut, "step__ready", 1), int(can))
            same("fired", read(dut, "fired", 1), int(fires))
            same("words.ready", read(dut, "words__ready", 1), int(fires and now["frees"]))
            same("row_enable", read(dut, "array__row_enable", 1), int(fires))
            ring = fires and item.kind == "value" and not item.sparse
            same("prob_enable", read(dut, "prob_enable", 1), int(ring))
            macs = range(banks * lanes + 1)
            same("macs", read(dut, "macs", macs), counted)
            counted = now["macs"] if fires else 0
            if fires:
                addresses = data.ArrayLayout(ADDRESS_BITS, banks)
                same("row_address", read(dut, "array__row_address", addresses), _at(now, "address"))
                same("row_valid", read(dut, "array__row_valid", banks), _at(now, "valid"))
            if ring:
                slot = (item.prob_address + _at(now, "scalar")[0]) % p["prob_words"]
                same("prob_address", read(dut, "prob_address", range(p["prob_words"])), slot)
            _compare(dut, array, prob_data, same)

            if fires:
                assert now["word"] is None or now["word"] == freed, "the wrong operand word"
                reduce = item.kind == "scores"
                array = {
                    "step_valid": 1,
                    "reduce": int(reduce),
                    "first": _at(now, "group_first" if reduce else "first"),
                    "last": _at(now, "group_last" if reduce else "last"),
                    "row_last": _at(now, "last"),
                    "bank_valid": _at(now, "valid"),
                    "scalars": None if reduce else now["scalars"] or "ring",
                    "vector": vector if reduce else None,
                }
                position += 1
                freed += now["frees"]
                offered = False
                word_there = word_there and not now["frees"]
            elif free:
                array = {**array, "step_valid": 0}
            if ring:
                prob_data = [_byte(rng) for _ in range(banks)]
            cycle += 1
            await cycles(dut)
        check("array_step.words", freed, len(item.words), seed=seed, index=cycle)
        dut.step__valid.value = 0


def _at(step: dict[str, Any], name: str) -> Any:
    return step["step"][name]


def _compare(dut: Any, array: dict[str, Any], prob_data: list[int], same: Any) -> None:
    """Compare what goes to the PE array beside the rows; it is held while the array is frozen."""
    banks, lanes = parameters()["banks"], parameters()["lanes"]
    same("step_valid", read(dut, "array__step_valid", 1), array["step_valid"])
    if not array["step_valid"]:
        return
    for name in ("reduce", "first", "last", "row_last"):
        same(name, read(dut, f"array__{name}", 1), array[name])
    same("bank_valid", read(dut, "array__bank_valid", banks), array["bank_valid"])
    if array["vector"] is not None:
        layout = data.ArrayLayout(signed(8), lanes)
        same("vector", read(dut, "array__vector", layout), array["vector"])
    if array["scalars"] is not None:
        got = read(dut, "array__scalars", data.ArrayLayout(signed(9), banks))
        wanted = prob_data if array["scalars"] == "ring" else array["scalars"]
        for bank, value in enumerate(wanted):
            if value is not None:
                same(f"scalars[{bank}]", got[bank], value)


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """A step every cycle."""
    await _run(dut, 1, 1.0, 1.0, 1.0)


@cocotb.test()
async def frozen_array(dut: Any) -> None:
    """The array is frozen most of the time: what it sees is held."""
    await _run(dut, 2, 0.9, 0.9, 0.35)


@cocotb.test()
async def late_operands(dut: Any) -> None:
    """Steps and operand words come late."""
    await _run(dut, 3, 0.6, 0.4, 0.8)
