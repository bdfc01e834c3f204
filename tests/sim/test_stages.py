"""Models that drop tokens on the emitted machine: other numbers of rows in every picture."""

import dataclasses

import pytest

from cli.options import load_dataset, load_model
from compiler import compile_steps
from golden_model.expected import expected_tensors
from spec.formats import REQUANTIZE
from spec.isa import Opcode, Window
from spec.presets import preset
from tests import grouped
from tests.random_models import pruned, random_images, random_model
from tests.sim.test_models import check
from tests.tiled_models import CASES, DEIT_TINY, machine_of, model_of


def left(model, images):
    """Tokens that each selection leaves, for each picture."""
    return [
        [
            len(array)
            for name, array in expected_tensors(model, image)[1].items()
            if name.endswith("selector.tokens")
        ]
        for image in images
    ]


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_classifier_on_tiny(simulator):
    model = pruned(load_model("micro"), [(1, "selector")])
    images = random_images(model.config, 3 if simulator == "verilator" else 2, seed=7)
    assert len({counts[0] for counts in left(model, images)}) > 1
    check(model, preset("tiny"), simulator, images)


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_attention_of_cls_on_tiny(simulator):
    model = pruned(load_model("micro"), [(1, "cls_attention")], package="mean", packages="each")
    images = random_images(model.config, 3 if simulator == "verilator" else 2, seed=7)
    assert len({counts[0] for counts in left(model, images)}) > 1
    check(model, preset("tiny"), simulator, images)


@pytest.mark.parametrize(("share", "stay"), [(0, 10), (1, 2)])
@pytest.mark.parametrize("package", ["weighted", "none"])
def test_all_or_nothing_stays(share, stay, package):
    """All of the ten tokens; or CLS and a package; or CLS and a patch that stays in any case."""
    model = pruned(load_model("micro"), [(1, "selector")], share, package=package)
    images = random_images(model.config, 1, seed=7)
    assert left(model, images) == [[stay]]
    check(model, preset("tiny"), "verilator", images)


@pytest.mark.parametrize("packages", ["merged", "each"])
def test_several_selections(packages):
    rules = [(1, "selector"), (2, "cls_attention"), (3, "selector")]
    model = pruned(load_model("demo"), rules, 0.4, packages=packages)
    images = load_dataset("sample", "test", model.config).first(2).images
    check(model, preset("tiny"), "verilator", images)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("micro", "selector"),
        ("micro", "cls_attention"),
        ("odd", "cls_attention"),
        ("even depth", "selector"),
        ("odd depth", "cls_attention"),
    ],
)
def test_three_head_groups(name, rule):
    """The selector works in one of them; scores of CLS come from two, or from all."""
    model = grouped.model_of(name)
    model = pruned(model, [(block, rule) for block in range(1, model.config.depth)])
    check(model, grouped.GROUPED, "verilator", random_images(model.config, 2, seed=7))


@pytest.mark.regress
@pytest.mark.parametrize("rule", ["selector", "cls_attention"])
def test_deit_tiny_on_asic512(rule):
    shape = dataclasses.replace(DEIT_TINY, depth=3)
    model = pruned(random_model(shape, outliers=False, images=2), [(1, rule), (2, rule)])
    check(model, preset("asic512"), "verilator", random_images(shape, 1, seed=7))


@pytest.mark.parametrize("rule", ["selector", "cls_attention"])
def test_tiles_without_rows(rule):
    """The last tile, and its weights, are left out."""
    shape, changes, _, tiles = CASES["three tiles"]
    model = pruned(model_of(shape), [(1, rule)], 0.8)
    config = machine_of(changes)
    plan = compile_steps(model, config)
    assert len(plan.allocation.tiling.tokens) == len(tiles)
    images = random_images(model.config, 3, seed=7)
    counts = [alive for (alive,) in left(model, images)]
    assert min(counts) <= tiles[0] + tiles[1]
    outcomes = check(model, config, "verilator", images)
    for outcome, alive in zip(outcomes, counts, strict=True):
        loaded = sum(
            weight_bytes(op, config)
            for op in plan.schedule.instructions
            if not 0 < op.fields.get("live_above", 0) >= alive
        )
        assert outcome.counters["dram_weights_bytes"] == loaded


def weight_bytes(op, config):
    """What an instruction reads from the WEIGHTS window."""
    f = op.fields
    if op.opcode == Opcode.LOAD_WEIGHTS:
        return (f["depth"] + REQUANTIZE.entry_bytes) * config.lanes
    if op.opcode == Opcode.LOAD_NORM:
        return f["channels"] * REQUANTIZE.entry_bytes
    if op.opcode == Opcode.LOAD_TOKENS and f["window"] == Window.WEIGHTS:
        return f["rows"] * f["words"] * config.lanes
    return 0
