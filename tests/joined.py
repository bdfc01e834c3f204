"""Two compiled programs as one with two efforts: a GATE takes the place of the first one's HALT."""

from dataclasses import replace

import numpy as np

from compiler import compile
from golden_model.machine import machine, run_program
from golden_model.units.entropy_gate import gate_sums, log2
from spec import model_file
from spec.assembler import Instruction, decode, encode
from spec.formats import GATE
from spec.image import ALIGNMENT_BYTES
from spec.isa import Opcode, Window
from spec.pixels import patches_of
from tests.random_models import random_images

__all__ = [
    "MODELS",
    "certain_threshold",
    "execute",
    "gate_of",
    "instructions_of",
    "joined",
    "three_parts",
    "with_program",
]

MODELS = ("micro-all", "micro", "micro-tokens")
"""The first part drops tokens and sets what SIEVE can; the second does neither."""

SCALE = (47_000, 19)
"""From the unit of a small model's logits to 2**-7 octave, more or less."""


def instructions_of(image):
    """Its program, as instructions."""
    return [decode(word.tobytes()) for word in image.program]


def with_program(image, program):
    """The image with other instructions."""
    words = np.stack([np.frombuffer(encode(op), np.uint8) for op in program])
    return replace(image, program=words, names=("",) * len(program))


def gate_of(image, threshold, skipped=0):
    """A GATE for the logits that the image's program stores last."""
    store = [op for op in instructions_of(image) if op.opcode is Opcode.STORE_TOKENS][-1].fields
    assert store["window"] is Window.RESULT
    assert store["rows"] == 1 or store["stride"] == store["words"]
    fields = {"token": store["token"], "classes": image.result.classes, "threshold": threshold}
    scale = {"multiplier": SCALE[0], "shift": SCALE[1]}
    return Instruction(opcode=Opcode.GATE, fields={**fields, **scale, "skipped": skipped})


def _moved(op, base):
    """The instruction with its weights so many bytes further on."""
    weights = op.opcode in (Opcode.LOAD_WEIGHTS, Opcode.LOAD_NORM)
    if not weights and op.fields.get("window") is not Window.WEIGHTS:
        return op
    return replace(op, fields={**op.fields, "offset": op.fields["offset"] + base})


def joined(parts, thresholds, skipped=None):
    """One image of several, of the same shape of input and result; its tensors are none.

    thresholds : of all but the last part
    skipped : counted at the end of each part
    """
    skipped = skipped or (0,) * len(parts)
    program, weights, names = [], [], []
    for number, image in enumerate(parts):
        assert (image.input, image.result) == (parts[0].input, parts[0].result)
        base = sum(map(len, weights))
        own = [_moved(op, base) for op in instructions_of(image)]
        assert own.pop().opcode is Opcode.HALT
        if number < len(thresholds):
            own.append(gate_of(image, thresholds[number], skipped[number]))
        else:
            own.append(Instruction(opcode=Opcode.HALT, fields={"skipped": skipped[number]}))
        program += own
        names += image.names
        weights.append(np.pad(image.weights, (0, -len(image.weights) % ALIGNMENT_BYTES)))
    whole = with_program(parts[0], program)
    scratch = max(image.scratch_bytes for image in parts)
    return replace(
        whole,
        weights=np.concatenate(weights),
        names=tuple(names),
        scratch_bytes=scratch,
        tensors={},
    )


def certain_threshold(logits):
    """The least threshold at which these logits are certain, by SCALE."""
    total, weighted = (int(each) for each in gate_sums(logits, *SCALE))
    return -(-(weighted << 3) // total) + int(log2(total)) - GATE.unit


def execute(image, config, patches, seed=1):
    """The whole program on the golden machine."""
    windows = {
        Window.WEIGHTS: image.weights.tobytes(),
        Window.INPUT: image.pack_input(patches),
        Window.RESULT: bytes(image.result_bytes),
        Window.SCRATCH: bytes(image.scratch_bytes),
    }
    return run_program(config, image.program, windows, seed)


def three_parts(config, skipped, models=MODELS):
    """Parts, the image of them all, and for each number of parts a picture that takes so many.

    The pictures as images and as patches.
    """
    parts, logits = [], []
    for name in models:
        model = model_file.load(f"models/{name}.safetensors")
        parts.append(compile(model, config))
        if len(parts) == 1:
            images = random_images(model.config, 12, seed=5)
            pictures = patches_of(images, model.config)
        logits.append([machine(parts[-1], config, patches).logits for patches in pictures])
    edges = [[certain_threshold(one) for one in each] for each in logits]
    first = int(np.median(edges[0]))
    left = [number for number, edge in enumerate(edges[0]) if edge > first]
    second = int(np.median([edges[1][number] for number in left]))
    taken = [1 + (a > first) + (a > first and b > second) for a, b in zip(*edges[:2], strict=True)]
    chosen = [taken.index(number) for number in (1, 2, 3)]
    return parts, joined(parts, [first, second], skipped), images[chosen], pictures[chosen]
