"""A whole board through its serial line: cocotbext-uart at the wires, the host's own code behind.

What a test needs comes from a folder that `sim.board` fills; each test of the suite is run on its
own, so it begins with a board as it was configured.
"""

from typing import Any

import cocotb
from cocotb.task import bridge

from sim.board_bench import Bench


@cocotb.test()
async def one(dut: Any) -> None:
    """An image that is in the memory from the start: one picture."""
    bench = await Bench.begin(dut)

    def host() -> None:
        assert not bench.driver.load(bench.image), "the memory holds the image, it was sent"
        bench.infer(0)

    await bridge(host)()
