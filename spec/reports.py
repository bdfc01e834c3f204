"""The JSON that `--json` writes: a contract that scripts may rely on (JSON Schema 2020-12)."""

from typing import Any

from spec.registers import STALLS

__all__ = ["DRAM_KINDS", "RESOURCES", "RUN", "SIMULATE"]

DRAM_KINDS = ("program", "weights", "input", "scratch", "result")

_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number", "minimum": 0}
_SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
"""Null: without labels there is no such share."""
_TEXT = {"type": "string"}


def _counts(names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict.fromkeys(names, _COUNT),
        "required": list(names),
        "additionalProperties": False,
    }


_CYCLE_KEYS: dict[str, Any] = {
    "model": _TEXT,
    "preset": _TEXT,
    "simulator": _TEXT,
    "images": _COUNT,
    "tensors_compared": _COUNT,
    "differing_elements": _COUNT,
    "predictions": {"type": "array", "items": _COUNT},
    "cycles": _COUNT,
    "array_busy_cycles": _COUNT,
    "stalls": _counts(STALLS),
    "macs_done": _COUNT,
    "macs_skipped": {"type": "object", "additionalProperties": _COUNT},
    "dram_bytes": _counts(DRAM_KINDS),
    "roofline_cycles": _COUNT,
    "roofline_ratio": _NUMBER,
    "utilization": _NUMBER,
    "wall_s": _NUMBER,
    "simulated_cycles_per_s": _NUMBER,
}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


SIMULATE = _object({**_CYCLE_KEYS, "per_image": {"type": "array", "items": _object(_CYCLE_KEYS)}})
"""`sievit simulate`: totals over the images, and the same keys for each image.

`stalls` and `macs_skipped` are by cause, in cycles and MACs; a dense machine skips nothing.
`utilization` = macs_done / (MACs in the array x cycles). More keys may follow.
"""

RUN = _object(
    {
        "model": _TEXT,
        "images": _COUNT,
        "top1_float": _SHARE,
        "top1_integer": _SHARE,
        "agreement": _NUMBER,
        "wall_s": _NUMBER,
    }
)
"""`sievit run`: shares of 1; `agreement` is that of integer with float predictions."""

RESOURCES = _object({"fmax_mhz": _NUMBER, "resources": {"type": "object"}})
"""`sievit synth`: resources by name, and the estimated clock."""
