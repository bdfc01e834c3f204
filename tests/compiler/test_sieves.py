"""SIEVE in compiled programs: what is in force where, lists in token memory, order, refusals."""

import dataclasses
import itertools

import numpy as np
import pytest

from compiler import CompileError, compile, compile_steps
from compiler.index_ring import index_content
from compiler.lowering import lower
from compiler.pipeline import finish
from compiler.planning import plan
from compiler.verification import verify
from quantize.named import quantized_named
from spec.assembler import decode
from spec.isa import Destination, Opcode
from spec.model_file import Stage
from spec.presets import preset
from spec.semaphores import Queue, Semaphore
from tests.compiler.ordering import DisorderError, check_ordering, without
from tests.grouped import GROUPED
from tests.random_models import with_stages
from tests.shapes import SHAPES, model_of
from tests.sieved_models import masked, with_thresholds
from tests.tiled_models import CASES, SPILLED, SPILLED_STAGES, machine_of, selecting
from tests.tiled_models import model_of as tiled_model

TINY, ASIC = preset("tiny"), preset("asic512")
SIEVES = ("zero_skip", "attention_masks", "thresholds")
CORE_THRESHOLDS = {"score": "scores", "prob": "probs", "context": "context"}
ROLES = {"attn.proj": "proj", "mlp.fc1": "fc1", "mlp.fc2": "fc2"}


def more(changes, words):
    """A machine with some token memory more, for lists."""
    return machine_of({**changes, "token_words": changes.get("token_words", 4096) + words})


def in_force(steps):
    """Name, instruction and SIEVE fields of everything that the array works on."""
    program, fields = steps.schedule, dict.fromkeys(("skip_zeros", "threshold", "placed"), 0)
    fields |= dict.fromkeys(("score_threshold", "prob_threshold", "context_threshold"), 0)
    fields |= {"masked": 0, "positions": 0, "lists": 0, "list_words": 0, "forget": 0}
    for name, op in zip(program.names, program.instructions, strict=True):
        if op.opcode == Opcode.SIEVE:
            assert op.fields != fields or op.fields["forget"], "a SIEVE that changes nothing"
            fields = op.fields
        elif op.queue == Queue.ARRAY and op.opcode != Opcode.HEAD_SCALES:
            yield name, op, fields


def expected_threshold(model, name, kinds):
    """Of a FULLY_CONNECTED; `kinds` counts the column blocks of Q, K and V."""
    parts = name.split(".")
    if parts[0] != "blocks" or ".selector." in name:
        return 0
    limits = model.thresholds(int(parts[1]))
    if name.endswith("qkv"):
        return limits[kinds.pop(0)]
    return limits[ROLES[".".join(parts[2:])]]


def check_fields(model, config):
    """Every instruction finds in force what its layer needs, and nothing else."""
    steps = compile_steps(model, config)
    packing = steps.lowered.packing
    kinds = "".join(k * packing.head_words for _ in packing.rounds for k in "qkv")
    relu = model.config.activation == "relu"
    queue = list(kinds * model.config.depth)
    for name, op, sieve in in_force(steps):
        layer = name.partition(".")[2].partition(".")[2]
        block = int(name.split(".")[1]) if name.startswith("blocks.") else 0
        limits = model.thresholds(block)
        has_mask = name.startswith("blocks.") and model.config.masked(block)
        if op.opcode == Opcode.ATTENTION and layer == "attn":
            assert sieve["masked"] == has_mask
            skips = config.zero_skip and config.head_groups == 1
            assert sieve["skip_zeros"] == (skips and (has_mask or limits["probs"] > 0))
            for field, point in CORE_THRESHOLDS.items():
                assert sieve[f"{field}_threshold"] == limits[point]
            if has_mask:
                assert sieve["placed"]
                assert sieve["list_words"]
        elif op.opcode == Opcode.ATTENTION:
            names = ("masked", "skip_zeros", *(f"{x}_threshold" for x in CORE_THRESHOLDS))
            assert not any(sieve[field] for field in names)
        else:
            zeros = {
                "mlp.fc2": relu or limits["fc1"] > 0,
                "attn.proj": limits["context"] > 0 and (packing.context_channels() >= 0).all(),
            }
            assert sieve["skip_zeros"] == (config.zero_skip and zeros.get(layer, False)), name
            if op.fields["destination"] == Destination.PARTIAL:
                continue
            assert sieve["threshold"] == expected_threshold(model, name, queue), name
            if op.fields["destination"] == Destination.ROWS:
                assert sieve["placed"] == (has_mask and layer == "attn.qkv")
    assert not queue
    return steps


@pytest.mark.parametrize("config", [TINY, ASIC], ids=["tiny", "asic512"])
@pytest.mark.parametrize("name", SHAPES)
def test_fields_in_force(name, config):
    model = model_of(name)
    last = model.config.depth - 1
    for own in (model, masked(model), with_thresholds(model), with_thresholds(masked(model))):
        check_fields(own, config)
    some = with_thresholds(masked(model, blocks=[last]))
    shape = some.config
    some = dataclasses.replace(
        some, tensors={**some.tensors, "blocks.0.thresholds": np.zeros(9, np.uint16)}
    )
    assert shape.masked(last)
    check_fields(some, config)


def test_fields_in_force_beside_selections():
    model = selecting("odd depth", "selector", "cls_attention")
    check_fields(with_thresholds(masked(model, blocks=[0, 2])), TINY)
    mean = with_stages(tiled_model("mean"), [Stage(block=1, rule="selector")])
    check_fields(with_thresholds(masked(mean)), TINY)


@pytest.mark.parametrize("groups", [2, 4])
def test_fields_in_force_in_head_groups(groups):
    config = dataclasses.replace(
        GROUPED, head_groups=groups, token_words=400, zero_skip=True, thresholds=True
    )
    for name in ("micro", "odd"):
        check_fields(with_thresholds(model_of(name)), config)


@pytest.mark.parametrize("config", [TINY, ASIC], ids=["tiny", "asic512"])
def test_dense_programs_do_not_know_of_sieves(config):
    """No byte depends on a flag that the model does not need."""
    without_any = dataclasses.replace(config, **dict.fromkeys(SIEVES, False))
    for name in ("micro", "wide", "mean"):
        model = model_of(name)
        image, plain = compile(model, config), compile(model, without_any)
        assert image.program.tobytes() == plain.program.tobytes()
        assert image.weights.tobytes() == plain.weights.tobytes()
        assert not any(word[0] == Opcode.SIEVE.value for word in image.program)


def test_relu_skips_zeros_only_where_they_are():
    model, uses = model_of("odd"), set()
    for name, _, sieve in in_force(compile_steps(model, TINY)):
        if sieve["skip_zeros"]:
            uses.add(name)
    assert uses == {"blocks.0.mlp.fc2", "blocks.1.mlp.fc2"}
    dense = dataclasses.replace(TINY, zero_skip=False)
    assert all(not sieve["skip_zeros"] for *_, sieve in in_force(compile_steps(model, dense)))


def test_thresholds_of_zero_are_none():
    model = model_of("micro")
    image = compile(with_thresholds(model, [0] * 9), preset("ulx3s"))
    assert image.program.tobytes() == compile(model, preset("ulx3s")).program.tobytes()


def test_lists_come_before_their_use():
    """Each item's address, and what is loaded there at that time."""
    model = with_thresholds(masked(model_of("demo")))
    for config in (TINY, dataclasses.replace(TINY, name="cramped", token_words=1300)):
        steps = compile_steps(model, config)
        contents = [content for _, content in index_content(steps.lowered)]
        memory, sieve, used, forgets = {}, {}, [], 0
        for op in steps.schedule.instructions:
            f = op.fields
            if op.opcode == Opcode.LOAD_TOKENS and op.wait | op.signal <= {
                Semaphore.TOKENS_READY,
                Semaphore.TOKENS_FREE,
            }:
                size = f["rows"] * f["words"] * config.lanes
                memory[f["token"]] = steps.image.weights[f["offset"] :][:size]
            if op.opcode == Opcode.SIEVE:
                sieve, forgets = f, forgets + f["forget"]
                if f["forget"]:
                    used.append(memory[f["positions"]])
            if op.opcode == Opcode.ATTENTION:
                used.append(memory[sieve["lists"]])
                assert len(used[-1]) == sieve["list_words"] * config.lanes
        assert len(used) == len(contents) == 2 * forgets
        for found, content in zip(used, contents, strict=True):
            assert np.array_equal(found, content)


def in_order(model, config, lefts=(None,)):
    """Check the order of all candidates' accesses."""
    for candidate in plan(lower(model, config), config).candidates:
        steps = finish(model, config, candidate)
        for left in lefts:
            check_ordering(steps.schedule.instructions, config, left)
    return compile_steps(model, config)


@pytest.mark.parametrize("name", ["demo", "micro", "odd", "wide", "distilled_odd", "mean"])
def test_programs_are_in_order(name):
    for config in (TINY, ASIC):
        in_order(with_thresholds(masked(model_of(name))), config)


def test_deit_tiny_on_asic512():
    """Lists beside the tiles of the dense program, each loaded while the one before is in use."""
    model = quantized_named("deit_tiny_patch16_224:2~vitcod")
    steps = in_order(model, ASIC)
    plan_ = steps.allocation
    assert [tile.count for tile in plan_.tiling.tokens] == [99, 98]
    assert "lists         12 of scores and of places, 334 words, the longest 78" in steps.describe()
    lists = [item for item in plan_.index if item.size > 20]
    assert len(lists) == 6
    largest = max(a.size + b.size for a, b in itertools.pairwise(lists))
    assert plan_.regions["lists"].size >= largest


@pytest.mark.parametrize("name", CASES)
def test_programs_in_tiles_are_in_order(name):
    shape, changes, *_ = CASES[name]
    model = masked(tiled_model(shape))
    for words in (24, 40):
        in_order(model, more(changes, words))


@pytest.mark.parametrize("name", SPILLED)
def test_programs_that_spill_are_in_order(name):
    shape, changes, *_ = SPILLED[name]
    model = masked(tiled_model(shape))
    assert in_order(model, more(changes, 22)).allocation.tiling.spilled
    in_order(model, more(changes, 34))


@pytest.mark.parametrize("name", SPILLED_STAGES)
def test_programs_that_spill_and_select_are_in_order(name):
    shape, rules, changes, *_ = SPILLED_STAGES[name]
    model = selecting(shape, *rules)
    read = [number for number, rule in enumerate(rules) if rule == "cls_attention"]
    blocks = [block for block in range(model.config.depth) if block not in read]
    model, tokens = with_thresholds(masked(model, blocks=blocks)), model.config.tokens
    steps = in_order(model, more(changes, 20), ([tokens, tokens], [9, 5], [4, 3]))
    assert steps.allocation.tiling.spilled


@pytest.mark.parametrize("semaphore", [Semaphore.TOKENS_READY, Semaphore.TOKENS_FREE])
@pytest.mark.parametrize("words", [180, 140])
def test_every_credit_is_needed(semaphore, words):
    """Without it a list comes too late, or too early over another one."""
    model = masked(tiled_model("even depth"))
    steps = compile_steps(model, machine_of({"token_words": words + 20}))
    assert any(item.waits for item in steps.allocation.index)
    with pytest.raises(DisorderError):
        check_ordering(without(steps.schedule.instructions, semaphore), TINY)


def test_the_ring_is_as_large_as_it_can_be():
    """Larger rings do not make more tiles; the smallest holds the longest item."""
    model, sizes = masked(tiled_model("even depth")), {}
    for words in range(170, 260, 6):
        steps = compile_steps(model, machine_of({"token_words": words}))
        plan_ = steps.allocation
        if not plan_.tiling.spilled:
            sizes.setdefault(plan_.tiling, []).append(plan_.regions["lists"].size)
    assert len(sizes) > 1
    longest = max(item.size for item in plan_.index)
    for found in sizes.values():
        assert found == sorted(found)
        assert found[0] >= longest
    assert max(max(found) for found in sizes.values()) > longest


def test_verification_knows_where_placed_keys_lie():
    """Weights in the words of a place that no row is written to in the order of tokens."""
    model, config = masked(model_of("micro")), dataclasses.replace(TINY, row_words=40)
    steps = compile_steps(model, config)
    groups, program = steps.lowered.key_groups, list(steps.schedule.instructions)
    in_order = -(-model.config.tokens // config.banks)
    assert groups > in_order
    loads = [pc for pc, op in enumerate(program) if op.opcode == Opcode.LOAD_WEIGHTS]
    pc = max(pc for pc in loads if steps.schedule.names[pc] == "blocks.0.attn.qkv")
    row = steps.allocation.value_row + in_order
    fields = {**program[pc].fields, "row": row, "depth": config.banks}
    program[pc] = dataclasses.replace(program[pc], fields=fields)
    verify(program, config, in_order)
    with pytest.raises(CompileError, match="keys or values in use"):
        verify(program, config, groups)


@pytest.mark.parametrize("spilled", [False, True])
def test_verification_knows_which_lists_are_in_use(spilled):
    """A list that comes without its credit, or to another place."""
    model, config = masked(tiled_model("odd depth")), machine_of({"token_words": 400})
    if spilled:
        config = more(SPILLED["three tiles"][1], 22)
    steps = compile_steps(model, config)
    assert steps.allocation.tiling.spilled == spilled
    program = list(steps.schedule.instructions)
    verify(program, config, steps.lowered.key_groups)
    with pytest.raises(CompileError, match=r"list \d+ may overwrite list \d+, which is in use"):
        verify(without(program, Semaphore.TOKENS_FREE), config, steps.lowered.key_groups)
    at = steps.allocation.regions["lists"].base + steps.allocation.index[1].row
    pc = next(pc for pc, op in enumerate(program) if op.fields.get("token") == at)
    fields = {**program[pc].fields, "token": at + 1}
    program[pc] = dataclasses.replace(program[pc], fields=fields)
    with pytest.raises(CompileError, match=f"no list was loaded to token word {at}"):
        verify(program, config, steps.lowered.key_groups)


def test_fewer_keys_in_all_banks_if_row_memory_is_small():
    model = masked(tiled_model("odd depth"))
    wide = compile_steps(model, machine_of({"row_words": 64})).lowered.key_groups
    dense = -(-model.config.tokens // TINY.banks)
    narrow = compile_steps(model, machine_of({"row_words": 2 * dense + 2})).lowered.key_groups
    assert (wide, narrow) == (dense + 1, dense)


def test_long_lists_are_loaded_in_rows_of_two_words():
    model = masked(model_of("demo"), share=0.9)
    config = dataclasses.replace(TINY, name="small", token_words=8192)
    steps = compile_steps(model, config)
    assert max(item.size for item in steps.allocation.index) > 255
    in_order(model, config)


def test_tensors_of_masked_blocks():
    model = masked(model_of("demo"), blocks=[1, 3])
    tensors = compile(model, TINY).tensors
    for block in range(4):
        for tensor in ("logits", "probs"):
            assert (f"blocks.{block}.attn.{tensor}" in tensors) == (block in (0, 2))
        assert f"blocks.{block}.attn.context" in tensors
        assert len(tensors[f"blocks.{block}.attn.k"].parts) > 0


def test_sieve_words_are_encoded():
    """Every field goes through the assembler."""
    image = compile(with_thresholds(masked(model_of("micro"))), TINY)
    found = [decode(word.tobytes()) for word in image.program]
    sieves = [op.fields for op in found if op.opcode == Opcode.SIEVE]
    for field in ("skip_zeros", "threshold", "masked", "lists", "list_words", "placed", "forget"):
        assert any(f[field] for f in sieves), field
    assert {f["forget"] for f in sieves} == {0, 1}
