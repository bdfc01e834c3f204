"""How a library names the parameters of a vision transformer.

A dialect turns each foreign name into a canonical one: timm's, with `attn.q`, `attn.k` and `attn.v`
where the projections are separate, and `ls1.gamma`, `ls2.gamma` for LayerScale.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["NORM_OF_MEAN", "REGISTERS", "Dialect", "Rule", "layer_of"]

NORM_OF_MEAN = (
    "a LayerNorm behind the patch mean: the machine takes the mean of int8 rows, "
    "and LayerNorm reads int16 rows of the residual stream"
)
REGISTERS = "register tokens: only CLS and a distillation token may precede the patches"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Names that match `pattern` in full, and what they are."""

    pattern: str
    canonical: str | None = None
    """Replacement as in `re.sub`; None: not taken."""
    dropped: str = ""
    """Why inference does not need it."""
    unsupported: str = ""
    """Why the machine cannot do it."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """A library's names."""

    name: str
    marks: Sequence[str]
    """A file is of this dialect if a name matches one of these."""
    rules: Sequence[Rule]
    """The first that matches counts."""
    distillation_has_head: bool = True
    """Models with a distillation token and a head have a head for that token too."""

    def speaks(self, names: Mapping[str, object]) -> bool:
        """Whether these are the dialect's names."""
        return any(re.search(mark, name) for mark in self.marks for name in names)

    def rule_of(self, name: str) -> tuple[Rule | None, str | None]:
        """Return the rule of a name, and the canonical name it gives."""
        for rule in self.rules:
            if found := re.fullmatch(rule.pattern, name):
                return rule, found.expand(rule.canonical) if rule.canonical else None
        return None, None


def layer_of(name: str) -> str:
    """A parameter's layer: its name without the last part, if that is a mere kind."""
    return re.sub(r"[._](weight|bias|gamma|lambda1)$", "", name)
