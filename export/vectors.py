"""A compiled model with its inputs as the contents of a DRAM, and the logits that must come out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler import compile
from golden_model.vit import vit
from spec.board_memory import board_memory
from spec.config import Config
from spec.image import ALIGNMENT_BYTES
from spec.isa import Window
from spec.model_file import Model
from spec.pixels import batch_of, patches_of

__all__ = ["Vectors", "vectors"]


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """What the stand-alone testbench reads and must find."""

    dram: bytes
    """From byte 0 on: program, weights, scratch and result windows, inputs of all images."""
    bases: dict[Window, int]
    limits: dict[Window, int]
    input_step: int
    """Bytes from one image's INPUT window to the next one's."""
    logits: NDArray[np.int16]
    """[images, classes], by the integer golden model."""


def vectors(model: Model, config: Config, images: NDArray[np.uint8]) -> Vectors:
    """Compile a model and lay it out as `spec.board_memory` does, with the images behind it.

    images : uint8 [n, height, width] or [n, channels, height, width], at least one
    """
    image = compile(model, config)
    layout = board_memory(image)
    batch = batch_of(images, model.config)
    inputs = [image.pack_input(patches) for patches in patches_of(batch, model.config)]
    step = -(-image.input_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    first = layout.size_bytes
    dram = bytearray(first + len(inputs) * step)
    dram[: len(layout.content)] = layout.content
    for number, content in enumerate(inputs):
        at = first + number * step
        dram[at : at + len(content)] = content
    return Vectors(
        dram=bytes(dram),
        bases={**layout.bases, Window.INPUT: first},
        limits=layout.limits,
        input_step=step,
        logits=vit(model, batch),
    )
