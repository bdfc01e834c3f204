"""The JSON of `sievit efforts`, beside `spec.reports`."""

from spec.schema import COUNT, NUMBER, TEXT, record

__all__ = ["EFFORTS"]

_SHARES = {"type": "array", "items": NUMBER, "minItems": 1}
_CASCADE = record({"top1": NUMBER, "cycles": NUMBER, "energy_proxy_uj": NUMBER, "shares": _SHARES})
_EFFORT = record({"skipped": {"type": "array", "items": COUNT}, "threshold": COUNT})
_EFFORTS = record(
    {
        "efforts": {"type": "array", "items": _EFFORT, "minItems": 1},
        "calibration": _CASCADE,
        "held_out": _CASCADE,
    }
)
EFFORTS = record(
    {
        "model": TEXT,
        "preset": TEXT,
        "dram": TEXT,
        "latency": COUNT,
        "bandwidth": COUNT,
        "images_similarity": COUNT,
        "images_calibration": COUNT,
        "images_held_out": COUNT,
        "depth": COUNT,
        "similarity": {"type": "array", "items": NUMBER},
        "score": TEXT,
        "order": {"type": "array", "items": COUNT},
        "paths": {"type": "array", "items": _EFFORTS, "minItems": 1},
        "front": {"type": "array", "items": _EFFORTS, "minItems": 1},
        "chosen": _EFFORTS,
        "wall_s": NUMBER,
    }
)
"""`sievit efforts`: `similarity` of each encoder block, the `order` in which they are skipped by
`score`, each of the `paths` alone, the `front` of efforts and thresholds, by cycles, and what was
`chosen`; these two by the calibration images.

`shares` of the images by the effort that answers; `cycles` and the energy proxy (see
`perf_model.energy`) are predicted, the mean of an image with all its passes. A threshold is in
units of 2**-10 bit, 0 in the last effort.
"""
