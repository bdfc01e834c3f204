"""What crosses the boundaries of attention's own units: walks of keys, lists, packed rows."""

from amaranth.lib import data, enum

from rtl_gen.interfaces import prob_row_layout, score_tag_layout, walk_layout
from spec.masks import GROUP_BITS

__all__ = ["WalkSource", "attention_walk_layout", "entries_layout", "prob_index_bits"]


class WalkSource(enum.Enum, shape=2):
    """Where the steps of a walk come from."""

    ROWS = 0
    """rows of a matrix, counted, or searched for"""
    LISTS = 1
    """keys of a pair of queries: `count` steps of its list, `words` inner words each"""
    PROBS = 2
    """rows of the probabilities in a row of the packed ring"""


def attention_walk_layout(banks: int, prob_words: int) -> data.StructLayout:
    """A walk, and its source; `row` of PROBS."""
    own = {"source": WalkSource, "row": prob_row_layout(prob_words, banks)}
    return data.StructLayout({**walk_layout(True).members, **own})


def entries_layout(banks: int) -> data.StructLayout:
    """A step of a list: the entries that count, and what they say."""
    return data.StructLayout({"valid": banks, "tag": score_tag_layout(banks)})


def prob_index_bits(prob_words: int, pairs: bool, skip_zeros: bool) -> int:
    """Bits of a key's place beside its probability; 0: the ring is not packed."""
    return max(GROUP_BITS if pairs else 0, (prob_words - 1).bit_length() if skip_zeros else 0)
