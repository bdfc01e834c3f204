"""Origins against the golden machine's: selections of all kinds, and two clients that read."""

import random
from typing import Any

import cocotb
import numpy as np
from amaranth.lib import wiring

from golden_model.units.select_tokens import moved_origins
from rtl_gen.interfaces import ORIGIN_MOVES, ROWS_BITS
from rtl_gen.token_selector.origins import Origins
from sim.bench import cycles, parameters, seeded, start
from sim.streams import Source, check, check_all, write

PARAMETERS = [{"rows": 64}, {"rows": 40}, {"rows": 16, "moves": False}]


def component(**sizes: Any) -> wiring.Component:
    """The component under test."""
    return Origins(**sizes)


class TB:
    """Gives LIVE and selections; reads."""

    def __init__(self, dut: Any, seed: int) -> None:
        self.dut, self.seed = dut, seed
        self.random = random.Random(f"origins/{seeded(seed)}")
        self.numbers = np.random.default_rng(seeded(seed))
        self.origin = np.arange(parameters()["rows"])
        self.left = self.first = len(self.origin)
        self.clients = [
            Source(dut, f"read__{n}__row", ROWS_BITS, seed=seed, stall=0.3) for n in range(2)
        ]
        self.answers: list[list[int]] = [[], []]
        cocotb.start_soon(self._listen())

    async def _listen(self) -> None:
        while True:
            for number, answers in enumerate(self.answers):
                if int(getattr(self.dut, f"read__{number}__valid").value):
                    answers.append(int(getattr(self.dut, f"read__{number}__origin").value))
            await cycles(self.dut)

    async def live(self, tokens: int) -> None:
        """LIVE."""
        self.dut.live.value, self.dut.tokens.value = 1, tokens
        await cycles(self.dut)
        self.dut.live.value, self.dut.tokens.value = 0, self.random.getrandbits(ROWS_BITS)
        self.origin = np.arange(parameters()["rows"])
        self.left = self.first = tokens

    async def _do(self, **moves: int) -> None:
        write(self.dut, "moves", ORIGIN_MOVES, moves)
        await cycles(self.dut)
        write(self.dut, "moves", ORIGIN_MOVES, {"first": self.random.getrandbits(ROWS_BITS)})

    async def select(self, prefix: int, share: float, package: bool, number: int) -> None:
        """Drop rows, a share of those behind the prefix; sometimes with pauses between rows."""
        keep = np.ones(self.left, np.bool_)
        keep[prefix:] = self.numbers.random(self.left - prefix) >= share
        if keep.all():
            return
        first, pauses = int(np.argmin(keep)), self.random.random() < 0.5
        left = int(keep.sum()) + package
        await self._do(start=1, first=first)
        stays = 0
        for row in range(first, self.left):
            await self._do(read=1, stays=stays)
            stays = int(keep[row])
            while pauses and self.random.random() < 0.4:
                await self._do(stays=stays)
                stays = 0
        await self._do(stays=stays)
        if package:
            await self._do(package=1, number=number)
        await self._do(end=1)
        self.origin = moved_origins(self.origin, keep, left, self.first + number)
        self.left = left

    async def check(self) -> None:
        """Both clients read all rows, in orders of their own."""
        for client in self.clients:
            rows = list(range(self.left))
            self.random.shuffle(rows)
            await self._ask(client, rows)
        both = [[self.random.randrange(self.left) for _ in range(60)] for _ in self.clients]
        for client, rows in zip(self.clients, both, strict=True):
            client.put(*rows)
        for client in self.clients:
            await client.drained()
        await cycles(self.dut, 3)
        for answers, rows in zip(self.answers, both, strict=True):
            check_all("origins", answers, self.origin[rows], seed=self.seed)
            answers.clear()

    async def _ask(self, client: Source, rows: list[int]) -> None:
        await client.send(rows)
        await cycles(self.dut, 3)
        answers = self.answers[self.clients.index(client)]
        check_all("origins", answers, self.origin[rows], seed=self.seed)
        answers.clear()


@cocotb.test()
async def selections(dut: Any) -> None:
    """One selection after the other, and the next image."""
    moves, most = parameters().get("moves", True), parameters()["rows"]
    await start(dut)
    bench = TB(dut, 1)
    await bench.check()
    for image in range(6):
        await bench.live(bench.random.choice((most, most - 1, most // 2, 4)))
        await bench.check()
        for number in range(4 if moves else 0):
            prefix, package = bench.random.choice((0, 1, 2)), bench.random.random() < 0.6
            if bench.left <= prefix:
                break
            each = number if image % 2 else 0
            await bench.select(prefix, bench.random.choice((0.05, 0.3, 0.8, 1.0)), package, each)
            if not bench.left:
                break
            await bench.check()


@cocotb.test()
async def selections_go_first(dut: Any) -> None:
    """Reads that wait for a selection's are not lost."""
    if not parameters().get("moves", True):
        return
    await start(dut)
    bench = TB(dut, 2)
    await bench.live(parameters()["rows"])
    await bench.select(1, 0.5, True, 0)
    rows = list(range(bench.left))
    await bench._do(start=1, first=0)
    bench.clients[0].put(*rows)
    for _ in rows:
        await bench._do(read=1)
    check("origins (waiting)", len(bench.answers[0]), 0)
    await bench.clients[0].drained()
    await cycles(dut, 3)
    check_all("origins (waiting)", bench.answers[0], bench.origin[rows])
