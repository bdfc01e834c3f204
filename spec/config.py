"""The parameters of one machine. Only the top level and the compiler see the whole of it."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from spec.errors import SievitError
from spec.formats import COUNTER_BITS, GROUP_BITS, LOGIT, PROB

__all__ = ["FLAGS", "MAX_HEAD_GROUPS", "SIEVES", "Config", "ConfigError"]

MAX_HEAD_GROUPS = 4
"""Most head groups that an instruction can name."""

MAX_FILE_NAME = 80

SIEVES = ("zero_skip", "attention_masks", "thresholds")
"""Parameters that build a sieve of the array's work; see SIEVE of `spec.isa`."""

_LATER = {
    "logic_lanes": 0,
    "counter_bits": COUNTER_BITS,
    **dict.fromkeys((*SIEVES, "effort_gate"), False),
}
"""Parameters that there were not from the beginning, and what a machine has without them."""

FLAGS = (
    *("register_operands", "logic_multipliers", "token_selector", "cls_scores", "effort_gate"),
    *SIEVES,
)
"""Parameters that are true or false."""


class ConfigError(SievitError, ValueError):
    """A machine that cannot be built: says which parameter, what is needed and what it is."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A machine of `banks` x `lanes` MACs and its memories.

    Sizes are in words: a row-memory or token-memory word is `lanes` bytes, a logit or probability
    word holds `banks` values, a table holds `lanes` entries.
    """

    name: str
    banks: int
    """Row-memory banks: matrix rows the array takes a cycle."""
    lanes: int
    """Bytes of a row word: output channels the array makes at a time."""
    vector_lanes: int
    """Results the array's epilogue (requantize, activation, residual) takes a cycle."""
    norm_lanes: int
    """Channels LayerNorm takes a cycle."""
    score_lanes: int
    """Attention scores that softmax takes a cycle."""
    bus_bits: int
    """AXI4 data width."""
    row_words: int
    """Words of one row-memory bank."""
    token_words: int
    column_tables: int
    """Column tables (requantize entries of one column block)."""
    norm_tables: int
    """LayerNorm tables of `lanes` entries; one LayerNorm takes embed_dim / lanes of them."""
    score_words: int
    """Ring of logit words between the scores and the exponentials."""
    prob_words: int
    """Ring of probability words between the exponentials and P.V."""
    queue_depth: int = 8
    """Instructions a queue holds, beside the one that executes."""
    max_head_dim: int = 64
    register_operands: bool = False
    """A register between row memory and multipliers: an FPGA, where they are far apart."""
    logic_multipliers: bool = False
    """Build the multipliers of post-processing from adders: an FPGA with few DSP blocks."""
    logic_lanes: int = 0
    """Lanes of the array whose multipliers are built from adders: an FPGA with few DSP blocks."""
    counter_bits: int = COUNTER_BITS
    """Bits that are built of each of the machine's counters; those above read as 0."""
    head_groups: int = 1
    """Copies of row memory, array, softmax and epilogue: heads or column blocks side by side."""

    token_selector: bool = True
    """Tokens can be dropped: SELECT, with scores from a classifier."""
    cls_scores: bool = True
    """SELECT can take its scores from the attention of CLS."""
    zero_skip: bool = False
    """Scalars that are 0 cost no step; of probabilities with one head group only."""
    attention_masks: bool = False
    """ATTENTION can follow lists of kept scores; with one head group only."""
    thresholds: bool = False
    """Small values can be made 0 at write-back."""
    effort_gate: bool = False
    """A program can end early, when the logits are certain: GATE."""

    def __post_init__(self) -> None:
        """Check every parameter, with messages that name it."""
        for field in asdict(self):
            value = getattr(self, field)
            if field in FLAGS:
                if not isinstance(value, bool):
                    raise ConfigError(
                        f"preset '{self.name}': {field} must be true or false, not {value!r}"
                    )
            elif field == "logic_lanes":
                if not isinstance(value, int) or not 0 <= value <= self.lanes:
                    raise ConfigError(
                        f"preset '{self.name}': logic_lanes must lie in 0..{self.lanes} (lanes), "
                        f"not {value!r}"
                    )
            elif field != "name" and (not isinstance(value, int) or value <= 0):
                raise ConfigError(f"preset '{self.name}': {field} must be positive, not {value!r}")
        for divisor, of in (
            ("banks", "lanes"),
            ("vector_lanes", "lanes"),
            ("norm_lanes", "lanes"),
            ("score_lanes", "banks"),
        ):
            small, large = getattr(self, divisor), getattr(self, of)
            if large % small:
                raise ConfigError(
                    f"preset '{self.name}': {divisor} must divide {of} ({large}), not {small}"
                )
        for power in ("banks", "lanes", "bus_bits", "score_words", "prob_words"):
            value = getattr(self, power)
            if value & (value - 1):
                raise ConfigError(
                    f"preset '{self.name}': {power} must be a power of two, not {value}"
                )
        if not 64 <= self.bus_bits <= min(512, self.lanes * 8):
            raise ConfigError(
                f"preset '{self.name}': bus_bits must lie in 64..{min(512, self.lanes * 8)} "
                f"(a token word is {self.lanes * 8} bits), not {self.bus_bits}"
            )
        if self.vector_lanes * 64 < self.bus_bits or self.norm_lanes * 64 < self.bus_bits:
            raise ConfigError(
                f"preset '{self.name}': bus_bits ({self.bus_bits}) must not exceed 64 bits for "
                f"each of vector_lanes ({self.vector_lanes}) and norm_lanes ({self.norm_lanes})"
            )
        if self.token_words > 1 << 16 or self.row_words > 1 << 16:
            raise ConfigError(
                f"preset '{self.name}': token_words and row_words must be at most 65,536"
            )
        if not 16 <= self.counter_bits <= COUNTER_BITS:
            raise ConfigError(
                f"preset '{self.name}': counter_bits must lie in 16..{COUNTER_BITS}, "
                f"not {self.counter_bits}"
            )
        if self.cls_scores and not self.token_selector:
            raise ConfigError(f"preset '{self.name}': cls_scores needs token_selector")
        if self.attention_masks and self.head_groups > 1:
            raise ConfigError(f"preset '{self.name}': attention_masks needs head_groups 1")
        if self.head_groups > 1:
            self._check_groups()

    def _check_groups(self) -> None:
        """What several head groups need: fields of the instruction set, and their arithmetic."""
        if self.head_groups > MAX_HEAD_GROUPS:
            raise ConfigError(
                f"preset '{self.name}': head_groups must be at most {MAX_HEAD_GROUPS}, "
                f"not {self.head_groups}"
            )
        if self.head_groups * self.lanes > 255:
            raise ConfigError(
                f"preset '{self.name}': head_groups x lanes must be at most 255 (a field of the "
                f"instruction set), not {self.head_groups * self.lanes}"
            )
        if self.token_words == 1 << 16:
            raise ConfigError(
                f"preset '{self.name}': token_words must be below 65,536 with several head_groups"
            )

    @property
    def file_name(self) -> str:
        """The name as part of a file's: letters, digits, `_`, `-` and `+`; at most 80 of them."""
        safe = re.sub(r"[^\w+-]", "-", self.name.replace(",", "+"), flags=re.ASCII)
        if len(safe) <= MAX_FILE_NAME:
            return safe
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:16]
        return f"{safe[: MAX_FILE_NAME - 17]}+{digest}"

    @property
    def macs(self) -> int:
        """Multipliers in the arrays of all head groups."""
        return self.head_groups * self.banks * self.lanes

    @property
    def bus_bytes(self) -> int:
        """Bytes of one AXI beat."""
        return self.bus_bits // 8

    @property
    def max_tokens(self) -> int:
        """Keys one attention row can have: both rings must hold a whole row."""
        return min(min(self.score_words, self.prob_words) * self.banks, 1023)

    @property
    def max_head_words(self) -> int:
        """Words of the longest head."""
        return -(-self.max_head_dim // self.lanes)

    @property
    def sram_bytes(self) -> int:
        """All memories of the machine, in bytes (tables at 8 bytes an entry)."""
        columns, norms = (n * self.lanes * 8 for n in (self.column_tables, self.norm_tables))
        ring_bits = self.score_words * (LOGIT.bits + self._index_bits + self.attention_masks)
        ring_bits += self.prob_words * (PROB.bits + self._index_bits)
        rings = ring_bits * self.banks // 8
        queues = 4 * self.queue_depth * 32
        rows = self.row_words * self.banks * self.lanes
        groups = self.head_groups * (rows + columns + rings)
        origins = self.max_positions * 2 * (self.attention_masks and self.token_selector)
        own = self.token_words * self.lanes + norms + queues
        return groups + own + self._score_bytes + origins

    @property
    def sparse_steps(self) -> bool:
        """Whether an array step can leave rows out, and then brings its scalars itself."""
        return self.zero_skip or self.attention_masks

    @property
    def packs_probs(self) -> bool:
        """Whether probabilities lie packed in their ring, and P.V follows their places."""
        return self.sparse_steps and self.head_groups == 1

    @property
    def max_positions(self) -> int:
        """Places of keys and values that lists can name."""
        return self.banks << GROUP_BITS

    @property
    def _index_bits(self) -> int:
        """Of a score or probability, to say which key it belongs to."""
        skips = self.zero_skip and self.head_groups == 1
        return max(
            GROUP_BITS if self.attention_masks else 0,
            (self.prob_words - 1).bit_length() if skips else 0,
        )

    @property
    def _score_bytes(self) -> int:
        """A score a token, in each head group if they are collected there, with a row to add."""
        if not self.token_selector:
            return 0
        return self.max_tokens * (3 * self.head_groups if self.cls_scores else 2)

    def digest(self) -> int:
        """64 bits that change when any parameter changes: an image names the machine it is for.

        A machine of one head group has the digest that it had before there were several, one
        without a sieve of the array's work that of before there were any, and one with all its
        multipliers and counters likewise.
        """
        fields = {k: v for k, v in asdict(self).items() if k != "name"}
        if self.head_groups == 1:
            del fields["head_groups"]
        for name, plain in _LATER.items():
            if fields[name] == plain:
                del fields[name]
        text = json.dumps(fields, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
