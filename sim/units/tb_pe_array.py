"""The array against its golden twin: both modes mixed, corners, freezes in every phase."""

import random
from collections.abc import Callable
from typing import Any

import cocotb
import numpy as np
from amaranth.hdl import signed
from amaranth.lib import data, wiring
from cocotb.triggers import FallingEdge, ReadOnly

from golden_model.units.pe_array import accumulate, reduce
from rtl_gen.interfaces import accumulators_layout, score_tag_layout, scores_layout
from rtl_gen.pe_array.pe_array import PEArray
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, check, check_all, write
from spec.formats import SCALAR
from spec.masks import GROUP_BITS

PARAMETERS = [
    {"banks": 4, "lanes": 8, "pairs": True},
    {"banks": 2, "lanes": 4, "register_operands": True, "logic_lanes": 2},
    {"banks": 4, "lanes": 8},
    {"banks": 2, "lanes": 4, "register_operands": True, "pairs": True},
    {"banks": 1, "lanes": 1},
    {"banks": 3, "lanes": 12},
]
BYTE = range(-128, 128)
WIDE = range(SCALAR.low, SCALAR.high + 1)


def component(**sizes: int) -> wiring.Component:
    """The component under test."""
    return PEArray(**sizes)


class Stimulus:
    """Steps of random passes, and the results they must give."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seeded(seed))
        self.numpy = np.random.default_rng(seeded(seed))
        self.banks, self.lanes = parameters()["banks"], parameters()["lanes"]
        self.pairs = parameters().get("pairs", False)
        self.steps: list[dict[str, Any]] = []
        self.accumulated: list[list[int]] = []
        self.scores: list[dict[str, Any]] = []

    def values(self, among: range, *shape: int) -> np.ndarray:
        """Return random values: the whole range, its ends, or one end."""
        ends = (among[0], among[-1], -1, 0, 1)
        choice = self.random.choice((None, None, ends, ends[:2], ends[:1], ends[1:2]))
        if choice is None:
            return self.numpy.integers(among[0], among[-1] + 1, shape)
        return self.numpy.choice(choice, shape)

    def mask(self) -> int:
        """Return which banks take part, mostly all."""
        everyone = (1 << self.banks) - 1
        return self.random.choice((everyone, everyone, self.random.getrandbits(self.banks)))

    def step(self, reducing: int, index: int, of: int, mask: int) -> dict[str, Any]:
        """Return one step of a pass, all operands random."""
        return {
            "reduce": reducing,
            "first": int(index == 0),
            "last": int(index == of - 1),
            "row_last": self.random.getrandbits(1),
            "rows": self.values(BYTE, self.banks, self.lanes),
            "scalars": self.values(WIDE, self.banks),
            "vector": self.values(BYTE, self.lanes),
            "bank_valid": mask,
            **(self._of_pair() if self.pairs else {}),
        }

    def _of_pair(self) -> dict[str, Any]:
        """Return what a step has besides with `pairs`."""
        rng = self.random
        second = rng.choice((0, (1 << self.banks) - 1, rng.getrandbits(self.banks)))
        groups = [rng.randrange(1 << GROUP_BITS) for _ in range(self.banks)]
        return {
            "second_vector": self.values(BYTE, self.lanes),
            "tag": {"second": second, "group": groups},
        }

    def _present(self, step: dict[str, Any]) -> np.ndarray:
        return np.array([step["bank_valid"] >> b & 1 for b in range(self.banks)])

    def accumulation(self, length: int) -> None:
        """Add a pass over `length` groups of rows."""
        steps = [self.step(0, i, length, self.mask()) for i in range(length)]
        scalars = np.concatenate([s["scalars"] * self._present(s) for s in steps])
        rows = np.concatenate([s["rows"] for s in steps])
        self.steps += steps
        self.accumulated.append(accumulate(scalars, rows).tolist())

    def reduction(self, words: int) -> None:
        """Add one group of scores over `words` inner words."""
        mask = self.mask()
        steps = [self.step(1, i, words, mask) for i in range(words)]
        vector = np.concatenate([s["vector"] for s in steps])
        rows = np.concatenate([s["rows"] for s in steps], axis=1)
        values = reduce(vector, rows)
        tag = {}
        if self.pairs:
            for step in steps:
                step["tag"] = steps[0]["tag"]
            tag = {"tag": steps[0]["tag"]}
            of_second = reduce(np.concatenate([s["second_vector"] for s in steps]), rows)
            seconds = [tag["tag"]["second"] >> b & 1 for b in range(self.banks)]
            values = np.where(seconds, of_second, values)
        values = values * self._present(steps[0])
        self.steps += steps
        self.scores.append(
            {"values": values.tolist(), "valid": mask, "last": steps[-1]["row_last"], **tag}
        )


class ForetoldSink(Sink):
    """Says in each cycle whether `scores` will be taken in the next one."""

    waits = False

    def _stalled(self) -> bool:
        now, self.waits = self.waits, super()._stalled()
        self.dut.scores_ready_next.value = int(not self.waits)
        return now


def _drive(dut: Any, step: dict[str, Any], banks: int, lanes: int) -> None:
    for name in ("reduce", "first", "last", "row_last", "bank_valid"):
        getattr(dut, name).value = step[name]
    rows = data.ArrayLayout(data.ArrayLayout(signed(8), lanes), banks)
    write(dut, "rows", rows, step["rows"])
    write(dut, "scalars", data.ArrayLayout(signed(9), banks), step["scalars"])
    write(dut, "vector", data.ArrayLayout(signed(8), lanes), step["vector"])
    if "tag" in step:
        write(dut, "second_vector", data.ArrayLayout(signed(8), lanes), step["second_vector"])
        write(dut, "tag", score_tag_layout(banks), step["tag"])


async def _run(
    dut: Any,
    seed: int,
    make: Callable[[Stimulus], None],
    *,
    bubble: float = 0.0,
    stall: tuple[float, float] = (0.0, 0.0),
    passes: int = 60,
    eager: int = 0,
) -> dict[str, int]:
    """Run random passes; return how many cycles each output that explains a stop was high."""
    banks, lanes = parameters()["banks"], parameters()["lanes"]
    await start(dut)
    stimulus = Stimulus(seed)
    if stimulus.pairs:
        dut.eager.value = eager
    for _ in range(passes):
        make(stimulus)
    sinks = [
        Sink(dut, "accumulators", accumulators_layout(lanes), seed=seed, stall=stall[0]),
        ForetoldSink(
            dut, "scores", scores_layout(banks, stimulus.pairs), seed=seed, stall=stall[1]
        ),
    ]
    counts = {"cycles": 0, "blocked_accumulators": 0, "blocked_scores": 0}
    todo = list(reversed(stimulus.steps))
    offered: dict[str, Any] | None = None
    held = False
    while todo or held:
        if not held:
            real = stimulus.random.random() >= bubble
            offered = todo.pop() if real else None
            _drive(dut, offered or stimulus.step(seed % 2, 0, 1, stimulus.mask()), banks, lanes)
            dut.step_valid.value = int(offered is not None)
        await ReadOnly()
        held = not int(dut.advance.value)
        blocked = [int(dut.blocked_accumulators.value), int(dut.blocked_scores.value)]
        check("pe_array.blocked", sum(blocked), int(held), seed=seed, index=counts["cycles"])
        counts["cycles"] += 1
        counts["blocked_accumulators"] += blocked[0]
        counts["blocked_scores"] += blocked[1]
        await FallingEdge(dut.clk)
    dut.step_valid.value = 0
    while int(dut.busy.value):
        await cycles(dut)
    await cycles(dut)
    check_all("pe_array.accumulators", sinks[0].received, stimulus.accumulated, seed=seed)
    check_all("pe_array.scores", sinks[1].received, stimulus.scores, seed=seed)
    counts["steps"] = len(stimulus.steps)
    return counts


def _mixed(stimulus: Stimulus) -> None:
    if stimulus.random.getrandbits(1):
        stimulus.accumulation(stimulus.random.choice((1, 1, 2, 3, 6)))
    else:
        stimulus.reduction(stimulus.random.choice((1, 1, 2, 3)))


def _long(stimulus: Stimulus) -> None:
    if stimulus.random.getrandbits(1):
        stimulus.accumulation(stimulus.random.choice((2, 3, 6)))
    else:
        stimulus.reduction(stimulus.random.choice((1, 1, 2, 3)))


@cocotb.test()
async def full_speed(dut: Any) -> None:
    """One step a cycle in and between both modes."""
    counts = await _run(dut, 1, _long)
    check("pe_array.cycles", counts["cycles"], counts["steps"])


@cocotb.test()
async def single_steps(dut: Any) -> None:
    """Accumulations of one step take two cycles each, but for the first and last in the pipe."""
    counts = await _run(dut, 7, lambda stimulus: stimulus.accumulation(1))
    check(
        "pe_array.cycles", counts["cycles"], 2 * counts["steps"] - component(**parameters()).LATENCY
    )


@cocotb.test()
async def eager_single_steps(dut: Any) -> None:
    """With `eager` they take one: each finishes when the one before is taken."""
    if not parameters().get("pairs"):
        return
    counts = await _run(dut, 8, lambda stimulus: stimulus.accumulation(1), eager=1)
    check("pe_array.cycles", counts["cycles"], counts["steps"])


@cocotb.test()
async def eager_results_wait(dut: Any) -> None:
    """Nothing is lost when results are taken late."""
    if parameters().get("pairs"):
        await _run(dut, 9, _mixed, bubble=0.2, stall=(0.6, 0.6), eager=1)


@cocotb.test()
async def bubbles_and_stalls(dut: Any) -> None:
    """Everything at random."""
    await _run(dut, 2, _mixed, bubble=0.4, stall=(0.5, 0.5))


@cocotb.test()
async def results_wait(dut: Any) -> None:
    """Both streams are slow: the array freezes for each of them."""
    counts = await _run(dut, 3, _mixed, stall=(0.8, 0.8))
    assert counts["blocked_accumulators"] > 10
    assert counts["blocked_scores"] > 10


@cocotb.test()
async def scores_every_cycle(dut: Any) -> None:
    """One group of scores a cycle when they are taken, and when they are not."""
    counts = await _run(dut, 4, lambda stimulus: stimulus.reduction(1))
    check("pe_array.cycles", counts["cycles"], counts["steps"])
    await _run(dut, 5, lambda stimulus: stimulus.reduction(1), stall=(0.0, 0.5))


@cocotb.test()
async def doubled_results(dut: Any) -> None:
    """A result that waits costs nothing until the next one is finished."""
    counts = await _run(dut, 6, lambda stimulus: stimulus.accumulation(40), stall=(0.7, 0.0))
    assert counts["blocked_accumulators"] <= 2


@cocotb.test()
async def latency(dut: Any) -> None:
    """`LATENCY` cycles from a step to its result."""
    await start(dut)
    for reducing, stream in ((0, "accumulators"), (1, "scores")):
        step = Stimulus(7).step(reducing, 0, 1, 1)
        _drive(dut, step, parameters()["banks"], parameters()["lanes"])
        dut.step_valid.value = 1
        waited = 0
        while not int(getattr(dut, f"{stream}__valid").value):
            await cycles(dut)
            dut.step_valid.value = 0
            waited += 1
        check(f"pe_array.LATENCY ({stream})", waited, component(**parameters()).LATENCY)
