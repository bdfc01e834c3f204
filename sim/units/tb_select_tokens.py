"""The token selector against the golden units: every write, in order, and the numbers it leaves."""

import random
from typing import Any

import cocotb
import numpy as np
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly

from rtl_gen.interfaces import ERROR, ORIGIN_MOVES, SELECT_COMMAND, token_write_layout
from rtl_gen.token_selector.select_tokens import SelectTokens
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Sink, Source, check, check_all, read
from sim.units.select_cases import Case, logits_for, random_rule
from spec.isa import Package
from spec.registers import Error

PARAMETERS = [
    {"lanes": 8, "norm_lanes": 4, "max_tokens": 64, "origins": True},
    {"lanes": 64, "norm_lanes": 16, "max_tokens": 40, "cls_scores": True, "origins": True},
    {"lanes": 16, "norm_lanes": 2, "max_tokens": 64, "logic_multipliers": True, "cls_scores": True},
]


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return SelectTokens(**parameters)


class TB:
    """Token memory, collected scores and monitors of one selector."""

    def __init__(self, dut: Any, case: Case, *, seed: int = 0, stall: float = 0.0) -> None:
        self.dut, self.case, self.seed, self.stall = dut, case, seed, stall
        self.random = random.Random(f"memory/{seeded(seed)}")
        self.command = Source(dut, "command", SELECT_COMMAND, seed=seed, stall=stall)
        self.write = Sink(
            dut, "write", token_write_layout(case.lanes), seed=seed, stall=0.6 * stall
        )
        self.memory = dict(case.memory)
        self.results: list[tuple[int, int]] = []
        self.taken: list[int] = []
        self.ended: list[int] = []
        self.origins = list(range(case.first_tokens + 1))
        self.moved: list[list[int]] = []
        self.source = self.target = self.looked = 0
        cocotb.start_soon(self._run())

    def _move(self) -> None:
        """Move origins as ORIGIN_MOVES says."""
        moves = read(self.dut, "origins", ORIGIN_MOVES)
        if moves["stays"] or moves["package"]:
            number = self.case.first_tokens + moves["number"]
            self.origins[self.target] = number if moves["package"] else self.looked
            self.target += 1
        if moves["read"]:
            self.looked = self.origins[self.source]
            self.source += 1
        if moves["start"]:
            self.source = self.target = moves["first"]

    async def _run(self) -> None:
        dut, cycle, asked, applied = self.dut, 0, [None, None], 0
        collects = parameters().get("cls_scores", False)
        while True:
            dut.read__request__ready.value = int(self.random.random() >= self.stall)
            await ReadOnly()
            word = None
            if int(dut.read__request__valid.value) and int(dut.read__request__ready.value):
                word = self.memory.get(int(dut.read__request__payload.value), 0)
            if int(dut.command__valid.value) and int(dut.command__ready.value):
                self.memory |= self.case.setups[len(self.taken)]
                self.taken.append(cycle)
            if parameters().get("origins", False):
                self._move()
            if int(dut.done.value):
                self.moved.append(self.origins[: len(self.case.origins[len(self.results)])])
                self.results.append((int(dut.live.value), int(dut.packages.value)))
                self.ended.append(cycle)
            score = None
            if collects:
                token = int(dut.collected_token.value) if int(dut.collected_enable.value) else None
                asked = [token, asked[0]]
                score = (
                    None if asked[1] is None else self.case.scores[len(self.taken) - 1][asked[1]]
                )
            await FallingEdge(dut.clk)
            cycle += 1
            while applied < self.write.transfers:
                done = self.write.received[applied]
                self.memory[done["address"]] = done["data"]
                applied += 1
            dut.read__valid.value = int(word is not None)
            dut.read__data.value = (
                self.random.getrandbits(8 * self.case.lanes) if word is None else word
            )
            if collects:
                dut.collected_score.value = (
                    self.random.getrandbits(16) if score is None else int(score)
                )

    async def run(self) -> None:
        """All commands; compare all writes and results."""
        case, seed = self.case, self.seed
        self.command.put(*case.commands)
        waited = 0
        while len(self.results) < len(case.commands):
            await cycles(self.dut)
            waited += 1
            assert waited < 100_000, f"seed {seed}: {len(self.results)} of {len(case.commands)}"
        await cycles(self.dut, 30)
        check_all("select_tokens", self.write.received, case.writes, seed=seed)
        check_all("select_tokens (live, packages)", self.results, case.results, seed=seed)
        if parameters().get("origins", False):
            check_all("select_tokens (origins)", self.moved, case.origins, seed=seed)
        check("select_tokens (idle)", int(self.dut.idle.value), 1, seed=seed)
        check("select_tokens (error)", read(self.dut, "error", ERROR)["valid"], 0, seed=seed)
        if not self.stall:
            self._check_cycles()

    def _check_cycles(self) -> None:
        """The time that the component's `cycles` says."""
        size = {name: value for name, value in parameters().items() if name != "cls_scores"}
        unit = SelectTokens(**size)
        for index, command in enumerate(self.case.commands):
            expected = unit.cycles(
                rows=command["rows"],
                prefix=command["prefix"],
                words=command["words"],
                heads=command["heads"],
                moving=self.case.moving[index],
                package=command["package"] != Package.NONE,
            )
            spent = self.ended[index] - self.taken[index] + 1
            check("select_tokens (cycles)", spent, expected, seed=self.seed, index=index)


def _case(seed: int, words: int, rows: int) -> Case:
    return Case.random(seed, lanes=parameters()["lanes"], words=words, rows=rows)


def _heads(rng: random.Random) -> int:
    return rng.choice((1, 2, 3, min(16, parameters()["lanes"])))


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5])
@cocotb.parametrize(each=[False, True])
@cocotb.parametrize(words=[1, 5])
async def several(dut: Any, words: int, each: bool, stall: float) -> None:
    """One selection after the other, until few rows are left."""
    seed = words + 10 * each + int(40 * stall)
    rng = random.Random(seeded(seed))
    case = _case(seed, words, 38)
    for index in range(6):
        keep, attend = logits_for(
            ("random", "tie", "wild")[index % 3], len(case.rows), _heads(rng), seed + index
        )
        prefix = rng.choice((1, 1, 2, 0))
        if len(case.rows) - case.packages <= prefix:
            break
        case.add(keep, attend, prefix=prefix, each=each, **random_rule(rng))
    await start(dut)
    await TB(dut, case, seed=seed, stall=stall).run()


@cocotb.test()
@cocotb.parametrize(package=list(Package))
@cocotb.parametrize(kind=["all", "none", "tie", "random"])
async def ends(dut: Any, kind: str, package: Package) -> None:
    """All kept, none kept, ties at the threshold; then the same for what is left of them."""
    case = _case(7, 2, 9)
    for again in range(3):
        keep, attend = logits_for(kind, len(case.rows), 2, 70 + again)
        threshold = int(case_threshold(keep, attend)) if kind == "tie" else 8192
        case.add(keep, attend, threshold=threshold, package=package)
    await start(dut)
    await TB(dut, case, seed=7).run()


def case_threshold(keep: np.ndarray, attend: np.ndarray) -> int:
    """The middle score: some rows lie at the threshold."""
    from golden_model.units.token_score import classifier_score

    return int(np.sort(classifier_score(keep, attend))[len(keep) // 2])


@cocotb.test()
@cocotb.parametrize(threshold=[0, 1, 16_384, 16_385, 65_535])
async def thresholds(dut: Any, threshold: int) -> None:
    """The least and the greatest; dropped rows with weights of 0 and of 255."""
    case = _case(threshold % 7, 2, 12)
    keep, attend = logits_for("wild", 12, 3, threshold)
    case.add(keep, attend, threshold=threshold)
    keep, attend = logits_for("random", len(case.rows), 3, threshold + 1)
    case.add(keep, attend, threshold=threshold, weight_shift=15)
    keep, attend = logits_for("random", len(case.rows), 3, threshold + 2)
    case.add(keep, attend, threshold=threshold, weight_shift=0)
    await start(dut)
    await TB(dut, case, seed=threshold).run()


@cocotb.test()
@cocotb.parametrize(package=list(Package))
@cocotb.parametrize(kind=["all", "none"])
async def one_row(dut: Any, kind: str, package: Package) -> None:
    """One row behind the prefix: kept, or its own package, or kept because there is none."""
    case = _case(3, 3, 3)
    for again in range(2):
        keep, attend = logits_for(kind, 3, 1, again)
        case.add(keep, attend, threshold=8192, prefix=2, package=package)
    await start(dut)
    await TB(dut, case, seed=3).run()


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.4])
async def collected(dut: Any, stall: float) -> None:
    """Scores that attention collected, up to the format's end."""
    if not parameters().get("cls_scores", False):
        return
    seed = int(10 * stall)
    numbers = np.random.default_rng(seeded(seed))
    case = _case(seed, 2, 30)
    for index in range(5):
        scores = numbers.integers(0, 1 << (16 if index % 2 else 10), len(case.rows))
        scores[numbers.random(len(scores)) < 0.2] = 65_535
        threshold = int(np.sort(scores)[len(scores) // 2])
        each = index > 2
        case.add(None, None, scores=scores, threshold=threshold, each=each)
    await start(dut)
    if stall:
        dut.collecting.value = 1
    bench = TB(dut, case, seed=seed, stall=stall)
    run = cocotb.start_soon(bench.run())
    await cycles(dut, 500)
    check("select_tokens (waits)", len(bench.results) > 0, not stall)
    dut.collecting.value = 0
    await run


@cocotb.test()
async def more_to_come(dut: Any) -> None:
    """With `more`, rows move and their origins do not."""
    case = _case(11, 2, 20)
    for more in (False, True):
        keep, attend = logits_for("random", len(case.rows), 2, 11 + more)
        case.add(keep, attend, threshold=8192, more=more)
    assert len(case.results) == 2
    assert case.moving[1]
    await start(dut)
    await TB(dut, case, seed=11).run()


@cocotb.test()
@cocotb.parametrize(rows=[1, 2])
async def no_row(dut: Any, rows: int) -> None:
    """Nothing behind the prefix: OPERAND with the pc, nothing written."""
    case = _case(5, 2, 5)
    keep, attend = logits_for("random", 5, 2, 5)
    case.add(keep, attend, threshold=8192)
    await start(dut)
    bench = TB(dut, case, seed=5)
    bench.command.put(case.commands[0] | {"rows": rows, "prefix": 2, "pc": 99})
    await cycles(dut, 300)
    check("select_tokens (writes)", len(bench.write.received), 0)
    check("select_tokens (results)", bench.results, [])
    expected = {"valid": 1, "code": Error.OPERAND, "pc": 99}
    check("select_tokens (error)", read(dut, "error", ERROR), expected)
