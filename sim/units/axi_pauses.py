"""Channels of cocotbext-axi's models that wait at random."""

import random
from collections.abc import Iterable, Iterator
from typing import Any

from sim.bench import seeded

__all__ = ["all_channels", "pause"]


def all_channels(model: Any) -> list[Any]:
    """The five channels of a master or memory with `read_if` and `write_if`."""
    reads, writes = model.read_if, model.write_if
    return [
        *(writes.aw_channel, writes.w_channel, writes.b_channel),
        *(reads.ar_channel, reads.r_channel),
    ]


def pause(channels: Iterable[Any], chance: float, seed: int) -> None:
    """Let each channel wait in a cycle with this chance."""
    rng = random.Random(seeded(seed))

    def waits() -> Iterator[bool]:
        while True:
            yield rng.random() < chance

    for channel in channels:
        channel.set_pause_generator(waits())
