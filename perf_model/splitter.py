"""Transfers cut into bursts, in time: `rtl_gen.dma.burst_splitter`."""

from dataclasses import dataclass

from rtl_gen.dma.axi import BURST_BEATS

__all__ = ["Burst", "Splitter"]


@dataclass
class Burst:
    """Beats of one client; `last` ends its transfer."""

    client: int
    beats: int
    last: bool
    due: int = 0


class Splitter:
    """What is left of a transfer."""

    def __init__(self) -> None:
        self.beats = 0
        self.index = 0
        """Of the first beat in its run of BURST_BEATS."""

    def take(self, beat_address: int, beats: int) -> None:
        """A transfer."""
        self.beats, self.index = beats, beat_address % BURST_BEATS

    def burst(self, client: int) -> Burst:
        """The next burst of it."""
        count = min(self.beats, BURST_BEATS - self.index)
        return Burst(client, count, count == self.beats)

    @property
    def fits(self) -> bool:
        """Whether the next burst is the last."""
        return self.beats <= BURST_BEATS - self.index
