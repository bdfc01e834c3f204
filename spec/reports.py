"""The JSON that `--json` writes: a contract that scripts may rely on (JSON Schema 2020-12)."""

from typing import Any

from spec.registers import STALLS
from spec.schema import COUNT as _COUNT
from spec.schema import NUMBER as _NUMBER
from spec.schema import TEXT as _TEXT
from spec.schema import record as _object

__all__ = [
    "BUILD",
    "DRAM_KINDS",
    "ESTIMATE",
    "GATES",
    "LATENCY",
    "PREDICTION",
    "RESOURCES",
    "RUN",
    "SIEVES",
    "SIMULATE",
]

DRAM_KINDS = ("program", "weights", "input", "scratch", "result")

_SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
"""Null: without labels there is no such share."""


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
    "attention_core_cycles": _COUNT,
    "dram_bytes": _counts(DRAM_KINDS),
    "roofline_cycles": _COUNT,
    "roofline_ratio": _NUMBER,
    "utilization": _NUMBER,
    "wall_s": _NUMBER,
    "simulated_cycles_per_s": _NUMBER,
}


SIMULATE = _object({**_CYCLE_KEYS, "per_image": {"type": "array", "items": _object(_CYCLE_KEYS)}})
SIMULATE["properties"]["live"] = {"type": "array", "items": {"type": "array", "items": _COUNT}}
SIMULATE["properties"]["efforts"] = {"type": "array", "items": _COUNT}
"""`sievit simulate`: totals over the images, and the same keys for each image.

`stalls` and `macs_skipped` are by cause, in cycles and MACs: `tokens` are the MACs of the same
model without stages, less those that the network needs with them; `masked` and `zero` are the
machine's counters, and do not enter the roofline. `attention_core_cycles` are those of scores,
softmax and P.V in the encoder blocks, from the last write before to the last of their own. `live`
are, for each image, the tokens behind each stage, effort after effort; the roofline is that of
these. `efforts` are, for each image, how many it took.
`utilization` = macs_done / (MACs in the array x cycles). More keys may follow.
"""

PREDICTION = _object(
    {
        "model": _TEXT,
        "preset": _TEXT,
        "dram": _TEXT,
        "latency": _COUNT,
        "bandwidth": _COUNT,
        "instructions": _COUNT,
        "cycles": _COUNT,
        "array_busy_cycles": _COUNT,
        "stalls": _counts(STALLS),
        "macs_done": _COUNT,
        "dram_bytes": _counts(DRAM_KINDS),
        "roofline_cycles": _COUNT,
        "roofline_ratio": _NUMBER,
        "utilization": _NUMBER,
        "blocks_inferred": _COUNT,
        "live": {"type": "array", "items": _COUNT},
        "layers": {
            "type": "array",
            "items": _object(
                {
                    "name": _TEXT,
                    "cycles": _COUNT,
                    "macs": _COUNT,
                    "dram_bytes": _COUNT,
                    "roofline_cycles": _COUNT,
                }
            ),
        },
        "wall_s": _NUMBER,
    }
)
"""`sievit estimate`: one image, predicted; the names are those of SIMULATE.

`blocks_inferred` encoder blocks were not run, because those before take the same time. `live` are
the tokens behind each stage, empty for a dense model.
`dram` with `latency` and `bandwidth` is the memory (`spec.dram`). `layers` are in program order and
have all cycles of the run: from the cycle in which the array takes a layer's first instruction to
the next layer's.
"""

_COUNTS = {"type": "array", "items": _COUNT, "minItems": 1}
LATENCY = _object(
    {
        "model": _TEXT,
        "preset": _TEXT,
        "dram": _TEXT,
        "latency": _COUNT,
        "bandwidth": _COUNT,
        "depth": _COUNT,
        "keep": {"type": "array", "items": _NUMBER, "minItems": 1},
        "tokens": _COUNTS,
        "block_cycles": _COUNTS,
        "block_cycles_dense": _COUNTS,
        "selector_cycles": _COUNTS,
        "fixed_cycles": _COUNT,
        "wall_s": _NUMBER,
    }
)
"""`sievit latency`: an encoder block's cycles when a share `keep` of the patches is left.

`tokens` are those of the block. `block_cycles` has a selector in front, which scores all tokens and
takes `selector_cycles` of them; XX"""

_SPREAD = _object({"mean": _NUMBER, "min": _COUNT, "max": _COUNT})
"""Of one number for each image."""
_STAGE = _object(
    {
        "block": _COUNT,
        "rule": _TEXT,
        "threshold": _COUNT,
        "tokens": _SPREAD,
        "patches": _SPREAD,
    }
)
_EFFORT = _object(
    {
        "skipped": {"type": "array", "items": _COUNT},
        "threshold": _COUNT,
        "threshold_bits": _NUMBER,
        "share": _NUMBER,
    }
)
_POINT = _object(
    {
        "factor": _NUMBER,
        "thresholds": {"type": "array", "items": _COUNT},
        "top1_integer": _NUMBER,
        "tokens": {"type": "array", "items": _NUMBER},
        "patches": {"type": "array", "items": _NUMBER},
        "macs": _NUMBER,
        "cycles": _NUMBER,
    }
)
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
RUN["properties"] |= {
    "stages": {"type": "array", "items": _STAGE},
    "macs_dense": _COUNT,
    "macs": _SPREAD,
    "preset": _TEXT,
    "dram": _TEXT,
    "cycles": _SPREAD,
    "cycles_images": _COUNT,
    "curve": {"type": "array", "items": _POINT},
    "efforts": {"type": "array", "items": _EFFORT},
    "efforts_mean": _NUMBER,
}
"""`sievit run`: shares of 1; `agreement` is that of integer with float predictions.

For a model with stages also `stages` (`tokens` alive behind each, `patches` of these) and `macs`
beside those of the same model without stages. With `--preset` the `cycles`, predicted for
`cycles_images` of the images. `curve`: with all thresholds times `factor`. For a model of several
`efforts`: the `share` of the images that each of them ends, and how many an image takes on average.
"""

_NULL = {"type": "null"}
RUN_ON_DEVICE = _object(
    {
        "device": _TEXT,
        "model": _TEXT,
        "preset": _TEXT,
        "images": _COUNT,
        "top1": _SHARE,
        "differing_images": _COUNT,
        "first_differing": {"anyOf": [_COUNT, _NULL]},
        "cycles": {"anyOf": [_SPREAD, _NULL]},
        "clock_hz": {"anyOf": [_COUNT, _NULL]},
        "load_s": _NUMBER,
        "wall_s": _NUMBER,
    }
)
"""`sievit run --device`: `differing_images` have a logit that is not the golden model's.

`cycles` are null for a device without a clock; `wall_s` is the time of all images, with transport.
"""

SELFTEST = _object(
    {
        "device": _TEXT,
        "preset": _TEXT,
        "model": _TEXT,
        "checks": {
            "type": "array",
            "minItems": 1,
            "items": _object(
                {
                    "name": _TEXT,
                    "ok": {"type": ["boolean", "null"]},
                    "found": _TEXT,
                    "wall_s": _NUMBER,
                }
            ),
        },
    }
)
"""`sievit selftest`: `ok` is null for what the device has not and for what was not done."""

SIEVES = _object(
    {
        "model": _TEXT,
        "preset": _TEXT,
        "dram": _TEXT,
        "latency": _COUNT,
        "bandwidth": _COUNT,
        "images": _COUNT,
        "variants": {
            "type": "array",
            "minItems": 1,
            "items": _object(
                {
                    "name": _TEXT,
                    "sieves": {"type": "array", "items": _TEXT},
                    "top1_integer": _SHARE,
                    "cycles": _SPREAD,
                    "cycles_images": _COUNT,
                    "cycles_error": _NUMBER,
                    "array_busy_cycles": _SPREAD,
                    "attention_core_cycles": _SPREAD,
                    "macs_done": _SPREAD,
                    "macs_skipped": _object(
                        {"tokens": _NUMBER, "masked": _NUMBER, "zero": _NUMBER}
                    ),
                }
            ),
        },
        "wall_s": _NUMBER,
    }
)
"""`sievit sieves`: a model with no sieve (`dense`), with each of `sieves` alone, and with `all`.

Predicted; the numbers are those of SIMULATE, `macs_skipped` as means over the images. Cycles and
work are of `cycles_images` of the images; `cycles_error` is the standard error of their mean, 0 if
they are all.
"""

_USED = {
    "type": "object",
    "properties": {"used": _NUMBER, "available": _NUMBER},
    "required": ["used"],
}
_RESOURCES = {"type": "object", "additionalProperties": _USED, "minProperties": 1}
_SYNTH_KEYS: dict[str, Any] = {"preset": _TEXT, "target": _TEXT, "wall_s": _NUMBER}

RESOURCES = _object(
    {
        **_SYNTH_KEYS,
        "device": _TEXT,
        "resources": _RESOURCES,
        "fmax_mhz": _NUMBER,
        "placed": {"const": True},
        "routed": {"type": "boolean"},
    }
)
"""`sievit synth`: resources by name, and the estimated clock of a machine that was placed."""

BUILD = _object(
    {
        "board": _TEXT,
        "preset": {"type": ["string", "null"]},
        "model": {"type": ["string", "null"]},
        "device": _TEXT,
        "macs": _COUNT,
        "memory_bytes": _COUNT,
        "image_bytes": _COUNT,
        "resources": _RESOURCES,
        "clock_mhz": _NUMBER,
        "fmax_mhz": _NUMBER,
        "met": {"type": "boolean"},
        "routed": {"type": "boolean"},
        "critical_path": {"type": "array", "items": _TEXT},
        "seeds": {
            "type": "array",
            "minItems": 1,
            "items": _object({"seed": _COUNT, "fmax_mhz": _NUMBER, "wall_s": _NUMBER}),
        },
        "bitstream": {"type": ["string", "null"]},
        "sha256": {"type": ["string", "null"]},
        "synthesis_s": _NUMBER,
        "wall_s": _NUMBER,
    }
)
"""`sievit build`: `met` says whether `fmax_mhz` reaches `clock_mhz`; if not, there is no bitstream.

`preset` and `model` (a digest) are null if the board has the link alone. `seeds`: the placements
that were tried, in order; all else is of the fastest.
"""

ESTIMATE = _object(
    {
        **_SYNTH_KEYS,
        "device": _TEXT,
        "macs": _COUNT,
        "resources": _RESOURCES,
        "fits": {"type": "boolean"},
        "placed": {"const": False},
    }
)
"""`sievit synth --quick` and `--target xcup`: what is needed, of what there is; not placed.

`fits` looks at the resources that have `available`. xcup also has `units`: the same by unit.
"""

_UNIT = _object(
    {
        "nand2": _NUMBER,
        "combinational_nand2": _NUMBER,
        "sequential_nand2": _NUMBER,
        "flip_flops": _COUNT,
        "enabled_flip_flops": _COUNT,
    }
)
_MEMORY = _object(
    {
        "name": _TEXT,
        "unit": _TEXT,
        "words": _COUNT,
        "word_bits": _COUNT,
        "bits": _COUNT,
        "sram": {"type": "boolean"},
    }
)
GATES = _object(
    {
        **_SYNTH_KEYS,
        "macs": _COUNT,
        "nand2": _NUMBER,
        "nand2_per_mac": _NUMBER,
        "flip_flops": _COUNT,
        "enabled_flip_flops": _COUNT,
        "sram_bits": _COUNT,
        "units": {"type": "object", "additionalProperties": _UNIT, "minProperties": 1},
        "memories": {"type": "array", "items": _MEMORY},
        "cells": {"type": "object", "additionalProperties": _COUNT},
        "method": _TEXT,
    }
)
"""`sievit synth --target gates`: areas in two-input NANDs, in total and by unit.

`nand2` is all logic and flip-flops; SRAM is not in it but in `sram_bits`. A memory with `sram`
false is made of flip-flops, which are in its unit's. The units add up to the totals.
"""
