"""TokenScore against its golden unit: every share, every attention, any number of heads."""

import random
from typing import Any

import cocotb
import numpy as np
from amaranth.lib import wiring
from cocotb.triggers import FallingEdge, ReadOnly

from golden_model.units.token_score import classifier_score
from rtl_gen.token_selector.token_score import TokenScore
from sim.bench import seeded, start
from sim.streams import check
from spec.formats import SELECTOR, SOFTMAX

PARAMETERS = [{}, {"logic_multipliers": True}]
LOW, HIGH = -(1 << 15), (1 << 15) - 1


def component(**parameters: Any) -> wiring.Component:
    """The component under test."""
    return TokenScore(**parameters)


async def _run(dut: Any, tokens: list[list[tuple[int, int]]], seed: int, stall: float) -> None:
    """Feed tokens, each a list of (keep, attend); compare every score and its cycle."""
    rng = random.Random(seeded(seed))
    await start(dut)
    due: list[int] = []
    heads: list[tuple[int, int, int]] = []
    for token in tokens:
        idle = max(0, TokenScore.CYCLES - len(token))
        heads += [(-1, -1, -1)] * idle
        heads += [(*logits, int(at == len(token) - 1)) for at, logits in enumerate(token)]
    got: list[int] = []
    cycle, at = 0, 0
    while len(got) < len(tokens):
        valid = at < len(heads) and rng.random() >= stall
        keep, attend, last = heads[at] if valid else (-1, -1, -1)
        at += valid
        dut.valid.value = int(valid and last >= 0)
        dut.keep.value = keep & 0xFFFF
        dut.attend.value = attend & 0xFFFF
        dut.last.value = int(last == 1) if last >= 0 else rng.getrandbits(1)
        if last == 1:
            due.append(cycle + TokenScore.LATENCY)
        await ReadOnly()
        if int(dut.result_valid.value):
            token = tokens[len(got)]
            expected = int(classifier_score(*np.array(token).T))
            check(
                "token_score", int(dut.score.value), expected, seed=seed, index=len(got), of=token
            )
            check("token_score (cycle)", cycle, due[len(got)], seed=seed, index=len(got))
            got.append(cycle)
        await FallingEdge(dut.clk)
        cycle += 1
        assert cycle < 150_000, f"{len(got)} of {len(tokens)} scores"


@cocotb.test()
async def every_share(dut: Any) -> None:
    """One head: all keep logits with a share of their own, and the ends."""
    most = SOFTMAX.max_octaves << SOFTMAX.fraction_bits
    rng = random.Random(seeded(1))
    keeps = [LOW, LOW + 1, HIGH, *range(-most - 3, most + 4)]
    await _run(dut, [[(keep, rng.randint(LOW, HIGH))] for keep in keeps], 1, 0.0)


@cocotb.test()
async def every_attention(dut: Any) -> None:
    """Two heads that disagree: the mean tells the weight of the first."""
    ends = [x + d for x, _, _ in SELECTOR.plan for d in (-1, 0, 1)]
    ends += [SELECTOR.plan_end + d for d in (-1, 0, 1)] + [1, 2, 3, 4, HIGH, -LOW]
    attends = sorted({s * x for x in ends for s in (-1, 1)} - {-LOW}) + list(range(-1300, 1301, 7))
    await _run(dut, [[(HIGH, a), (LOW, b)] for a in attends for b in (0, HIGH, -a - 1)], 2, 0.0)


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.3])
async def many_heads(dut: Any, stall: float) -> None:
    """Up to 16 heads with gaps between them; no attention at all; all of it."""
    rng = random.Random(seeded(3))
    tokens = []
    for _ in range(300):
        low, high = rng.choice(((-300, 300), (LOW, HIGH), (LOW, LOW + 5), (HIGH - 5, HIGH)))
        size = rng.choice((1, 2, 3, 12, 16, rng.randint(1, 16)))
        wide = rng.choice((200, 1152, HIGH))
        tokens.append([(rng.randint(-wide, wide), rng.randint(low, high)) for _ in range(size)])
    tokens += [[(HIGH, HIGH)] * 16, [(LOW, HIGH)] * 16, [(HIGH, LOW)] * 16, [(0, 0)]]
    await _run(dut, tokens, 3, stall)
