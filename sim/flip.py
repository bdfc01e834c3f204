"""Flips a weight bit in the DRAM: shows that the comparison of tensors can fail."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.machine import machine
from golden_model.trace import assemble_tensors
from sim.errors import SimulationError
from sim.trace import compare_tensors
from spec.assembler import decode
from spec.config import Config
from spec.formats import REQUANTIZE
from spec.image import Image
from spec.isa import Opcode

__all__ = ["flip_visible_bit", "flip_weight_bit"]

TRIES = 1000
"""Bits looked at before `flip_visible_bit` gives up."""


def _weights(image: Image, config: Config) -> NDArray[np.intp]:
    """Addresses of the weights in the order in which the program loads them, without zeros."""
    places: list[NDArray[np.intp]] = []
    for word in image.program:
        instruction = decode(word.tobytes())
        if instruction.opcode is Opcode.LOAD_WEIGHTS:
            f, table_bytes = instruction.fields, config.lanes * REQUANTIZE.entry_bytes
            first, size = f["offset"] + table_bytes, f["depth"] * config.lanes
            for _ in range(1 + f["further_groups"]):
                places.append(first + np.flatnonzero(image.weights[first : first + size]))
                first += size + table_bytes
    return np.concatenate(places)


def flip_weight_bit(image: Image, config: Config, bit: int) -> Image:
    """The image with one bit of one weight flipped.

    Weights are counted in the order in which the program loads them; those that are 0, padding
    among them, do not count. The first numbers are the weights' sign bits, the next their bits 6,
    and so on.
    """
    addresses = _weights(image, config)
    total = 8 * len(addresses)
    if not 0 <= bit < total:
        raise SimulationError(f"--flip-bit must be in 0..{total - 1:,}, not {bit:,}")
    significance, index = divmod(bit, len(addresses))
    weights = image.weights.copy()
    weights[addresses[index]] ^= 0x80 >> significance
    return replace(image, weights=weights)


def flip_visible_bit(
    image: Image,
    config: Config,
    bit: int,
    patches: NDArray[np.int8],
    expected: Sequence[Mapping[str, NDArray[Any]]],
) -> tuple[Image, int]:
    """Flip bit `bit`, or the next one whose flip changes a tensor; returns which it was.

    Rounding hides many low bits, and a weight whose inputs are all 0 hides all of its own. The
    golden machine tells, one picture after the other.

    patches : int8 [n, patches, patch_dim], as the machine takes them
    expected : every intermediate tensor of the right image, for each picture
    """
    first = flip_weight_bit(image, config, bit)
    total = 8 * len(_weights(image, config))
    for number in (attempt % total for attempt in range(bit, bit + TRIES)):
        flipped = flip_weight_bit(image, config, number)
        for rows, wanted in zip(patches, expected, strict=True):
            found = assemble_tensors(image, machine(flipped, config, rows).execution.writes)
            if any(result.differing for result in compare_tensors(found, wanted)):
                return flipped, number
    return first, bit
