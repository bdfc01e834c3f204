"""Fields of instructions that are one of a few choices."""

from amaranth.lib import enum

__all__ = ["Activation", "Destination", "Package", "ScoreUse", "Scores"]


class Destination(enum.Enum, shape=3):
    """Where a FULLY_CONNECTED result row goes."""

    TOKENS = 0
    """int8, one token-memory word a row."""
    ROWS = 1
    """int8, one row-memory row: row t in bank t mod banks (K and V of attention)."""
    RESIDUAL = 2
    """added to the int16 word pair at the destination."""
    WIDE = 3
    """int16, two token-memory words a row (class logits)."""
    PARTIAL = 4
    """The sums themselves, int32, `PARTIAL_WORDS` token-memory words a row: more inputs follow."""


class Activation(enum.Enum, shape=2):
    """Applied to a requantized result before it is written to `TOKENS`."""

    NONE = 0
    """clip to ACT"""
    RELU = 1
    """clip to 0..127"""
    GELU = 2
    """the quartic GELU, requantized to codes with a zero point"""


class Scores(enum.Enum, shape=1):
    """Where the scores of a SELECT come from."""

    CLASSIFIER = 0
    """computed from the rows of keep logits and attention logits"""
    CLS_ATTENTION = 1
    """collected by ATTENTION instructions with a `ScoreUse`"""


class ScoreUse(enum.Enum, shape=2):
    """What an ATTENTION does with the probabilities of its first query row, that of CLS."""

    NONE = 0
    """nothing"""
    SET = 1
    """they become the scores of the keys"""
    ADD = 2
    """they are added to the scores"""


class Package(enum.Enum, shape=2):
    """What a SELECT makes of the rows it drops."""

    NONE = 0
    """nothing"""
    MEAN = 1
    """one row: their mean"""
    WEIGHTED = 2
    """one row: their mean, weighted by their scores"""
