"""How the channels of attention heads lie in memory words."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["HeadPacking", "words"]


def words(channels: int, lanes: int) -> int:
    """Words that hold `channels` int8 values."""
    return -(-channels // lanes)


@dataclass(frozen=True, kw_only=True)
class HeadPacking:
    """Short heads lie side by side in a word, long heads take several words each.

    Heads that share words form a group: its Q, K and V are `head_words` words a token, and the
    context of group g starts at word g * head_words.
    """

    lanes: int
    heads: int
    head_dim: int
    head_groups: int = 1
    """Of the machine: groups of heads that are worked on side by side."""

    @property
    def lane_stride(self) -> int:
        """Lanes from one head to the next: the smallest divisor of `lanes` that holds a head."""
        if self.head_dim >= self.lanes:
            return self.lanes
        divisors = (n for n in range(1, self.lanes + 1) if self.lanes % n == 0)
        return next(n for n in divisors if n >= self.head_dim)

    @property
    def heads_per_group(self) -> int:
        """Heads side by side in a word; 1 when a head takes several words."""
        return self.lanes // self.lane_stride

    @property
    def head_words(self) -> int:
        """Words of a head."""
        return words(self.head_dim, self.lanes)

    @property
    def groups(self) -> int:
        """Groups of heads that share words."""
        return -(-self.heads // self.heads_per_group)

    @property
    def rounds(self) -> tuple[range, ...]:
        """The groups of heads, as many at a time as the machine has head groups."""
        step = self.head_groups
        return tuple(
            range(first, min(first + step, self.groups)) for first in range(0, self.groups, step)
        )

    @property
    def query_words(self) -> int:
        """Words of one token's queries in a round."""
        return len(self.rounds[0]) * self.head_words

    @property
    def context_words(self) -> int:
        """Words of one token's attention output."""
        return self.groups * self.head_words

    def heads_of(self, group: int) -> range:
        """The heads of a group."""
        first = group * self.heads_per_group
        return range(first, min(first + self.heads_per_group, self.heads))

    def first_lane(self, head: int) -> int:
        """Lane of a head's first channel."""
        return head % self.heads_per_group * self.lane_stride

    def channels(self, group: int, word: int) -> NDArray[np.int64]:
        """Channel (head * head_dim + its own) of each lane of a group's word; -1: none.

        result : int64 [lanes]
        """
        out = np.full(self.lanes, -1, np.int64)
        for head in self.heads_of(group):
            own = np.arange(word * self.lanes, min((word + 1) * self.lanes, self.head_dim))
            own = own[: self.head_dim - word * self.lanes]
            at = self.first_lane(head) + np.arange(len(own))
            out[at] = head * self.head_dim + own
        return out

    def context_channels(self) -> NDArray[np.int64]:
        """Channel of each lane of a token's context words, up to the last one in use.

        result : int64 [depth], -1 where a lane holds no channel
        """
        out = np.concatenate(
            [self.channels(g, w) for g in range(self.groups) for w in range(self.head_words)]
        )
        return out[: int(np.flatnonzero(out >= 0)[-1]) + 1]
