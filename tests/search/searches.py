"""A small search: micro-all on tiny, a few of the bundled sample's images."""

from functools import cache

from cli.options import BUNDLED
from quantize.datasets import Labelled, sample
from search.evaluate import Evaluator
from search.settings import settings_of
from search.space import space_of
from search.study import Target, Trials
from search.workers import workers
from spec.dram import DRAM_PRESETS
from spec.model_file import load
from spec.presets import preset

GENERATION = 6


def images(first, count):
    data = sample(BUNDLED / "sample.safetensors", 12)
    part = slice(first, first + count)
    return Labelled(images=data.images[part], labels=data.labels[part])


@cache
def evaluator(name="micro-all", groups="tokens,masks,thresholds,machine"):
    model, chosen_by = load(BUNDLED / f"{name}.safetensors"), images(0, 48)
    return Evaluator(
        space=space_of(model, preset("tiny"), chosen_by.images, groups.split(",")),
        timing=DRAM_PRESETS["ddr"],
        calibration=chosen_by,
        held_out=images(100, 32),
        predicted=1,
    )


def trials_of(own, target=None, file=None, seed=1):
    target = target or Target()
    return Trials(own.space.knobs, target, settings_of(own), file, seed, GENERATION)


def searched(own, count=2 * GENERATION, target=None, file=None, seed=1, **where):
    """A search's trials, after it has run."""
    found = trials_of(own, target, file, seed)
    with workers(own, **where) as run:
        found.run(count, run)
    return found


def outcome(found):
    """All that a search found."""
    return found.points, found.refused, found.front
