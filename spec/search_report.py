"""The JSON that `sievit search --json` writes (JSON Schema 2020-12), as in `spec.reports`."""

from typing import Any

from spec.reports import _COUNT, _NUMBER, _SHARE, _TEXT, _object

__all__ = ["SEARCH"]

_COUNTS = {"type": "array", "items": _COUNT}
_VALUES = {"type": "object", "additionalProperties": {"type": ["number", "string", "boolean"]}}
_OPTIONAL = {"type": ["number", "null"], "minimum": 0}
_POINT = _object(
    {
        "trial": _COUNT,
        "values": _VALUES,
        "preset": _TEXT,
        "top1": _SHARE,
        "cycles": _NUMBER,
        "image_cycles": _COUNTS,
        "dram_bytes": _NUMBER,
        "macs": _NUMBER,
        "gates": _NUMBER,
        "logic_gates": _NUMBER,
        "sram_bytes": _COUNT,
        "energy_proxy_uj": _NUMBER,
        "missed": {"type": "number"},
    }
)
_MEASURED: dict[str, Any] = {
    "trial": _COUNT,
    "simulator": _TEXT,
    "image_cycles": _COUNTS,
    "dram_bytes": _NUMBER,
    "differing_elements": _COUNT,
    "agrees": {"type": "boolean"},
}
SEARCH = _object(
    {
        "model": _TEXT,
        "preset": _TEXT,
        "dram": _TEXT,
        "latency": _COUNT,
        "bandwidth": _COUNT,
        "dataset": _TEXT,
        "images": _COUNT,
        "held_out_images": _COUNT,
        "cycles_images": _COUNT,
        "seed": _COUNT,
        "trials": _COUNT,
        "target_cycles": _OPTIONAL,
        "max_drop": _OPTIONAL,
        "knobs": {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}},
        "energy_costs": _object(
            {"mac_pj": _NUMBER, "sram_byte_pj": _NUMBER, "dram_byte_pj": _NUMBER}
        ),
        "points": {"type": "array", "items": _POINT, "minItems": 1},
        "refused": {
            "type": "array",
            "items": _object({"trial": _COUNT, "values": _VALUES, "reason": _TEXT}),
        },
        "front": {"type": "array", "items": _object({"trial": _COUNT, "top1_held_out": _SHARE})},
        "base_top1_held_out": _SHARE,
        "chosen": {"type": ["integer", "null"]},
        "measured": {"type": "array", "items": _object(_MEASURED)},
        "wall_s": _NUMBER,
    }
)
"""`sievit search`: every trial that could be measured (`points`; the first is the model as it is),
and those that could not.

top1 is of `images` calibration images, `..top1_held_out` of others (null: there are none), as
shares; so is `max_drop`. cycles, dram_bytes, macs and energy_proxy_uj are means over
`cycles_images` of the calibration images, predicted; `image_cycles` are those of each. gates are an
estimate: logic_gates and what sram_bytes are worth. energy_proxy_uj is a proxy, from
`energy_costs`. A point is within the target if `missed` is 0 or less; of these is the `front`, and
`chosen` (a trial; null without a target or if none reaches it). `measured` are points that were
simulated.
"""
