"""Algorithm 1 on accuracies that are known, and the latency table it reads."""

import json

import pytest

pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

import torch

from training.errors import TrainingError
from training.insertion import Goal, insert_selectors, merge_selectors, stages_of
from training.latency import LatencyTable, ratio_loss

CYCLES = (1000.0, 760.0, 520.0, 300.0)
TABLE = LatencyTable(
    keep=(1.0, 0.75, 0.5, 0.25), block_cycles=CYCLES, plain_cycles=CYCLES, fixed_cycles=50.0
)


def insert(target, accuracy, depth=8, **fields):
    tried = []

    def evaluate(keeps):
        tried.append(keeps)
        return accuracy(keeps)

    goal = Goal(target_cycles=target, **fields)
    found = insert_selectors(TABLE, depth, 0.9, evaluate, goal)
    return found, tried


def test_table_interpolates_both_ways():
    assert TABLE.cycles(0.75) == 760
    assert TABLE.cycles(0.625) == pytest.approx(640)
    assert TABLE.keep_for(640) == pytest.approx(0.625)
    assert TABLE.keep_for(10) == 0.25
    assert TABLE.keep_for(5000) == 1.0
    assert TABLE.model_cycles([1, 0.5]) == 1570
    with pytest.raises(TrainingError, match=r"keep must be in 0\.25\.\.1 of the table, not 0\.2"):
        TABLE.cycles(0.2)


def test_a_block_with_a_selector_of_its_own_takes_longer():
    table = LatencyTable(
        keep=(1.0, 0.5), block_cycles=(110.0, 60.0), plain_cycles=(100.0, 50.0), fixed_cycles=1.0
    )
    assert table.model_cycles([1, 1, 0.5, 0.5]) == 1 + 100 + 100 + 60 + 50


def test_a_plateau_keeps_as_much_as_it_may():
    table = LatencyTable(
        keep=(1.0, 0.9, 0.8, 0.5),
        block_cycles=(90.0, 80.0, 80.0, 50.0),
        plain_cycles=(90.0, 80.0, 80.0, 50.0),
        fixed_cycles=0.0,
    )
    assert table.keep_for(80) == 0.9
    assert table.keep_for(65) == pytest.approx(0.7)


def test_lossless_dropping_ends_at_the_target_from_the_last_block_on():
    found, tried = insert(6000, lambda keeps: 0.9)
    assert found.met
    assert found.cycles <= 6000
    assert {keeps[:2] for keeps in tried} == {(1.0, 1.0)}
    first = tried[0]
    assert first[:7] == (1.0,) * 7
    assert first[7] == pytest.approx(TABLE.keep_for(900))
    assert all(keeps == tuple(sorted(keeps, reverse=True)) for keeps in tried)
    assert found.keeps[2:4] == (1.0, 1.0), "blocks further forward are not needed for this target"


def test_a_block_that_costs_too_much_is_left():
    """Block 7 may keep half, not less."""
    found, tried = insert(7000, lambda keeps: 0.9 if keeps[7] >= 0.5 else 0.5, depth=8)
    assert found.met
    assert min(found.keeps) >= 0.5
    assert any(keeps[7] < 0.5 for keeps in tried)
    assert stages_of(found.keeps) == found.stages


def test_a_target_that_costs_too_much_is_not_met():
    found, tried = insert(5000, lambda keeps: 0.5, rounds=2)
    assert not found.met
    assert found.keeps == (1.0,) * 8
    assert tried == [tried[0]] * 2, "what the last block must keep, those before it must too"


def test_later_rounds_may_lose_more():
    def accuracy(keeps):
        return 0.9 - 0.002 * (1 - min(keeps)) / 0.75 * 5

    assert not insert(7800, accuracy, accuracy_drop=0.0001, rounds=1)[0].met
    found, _ = insert(5000, accuracy, accuracy_drop=0.004, rounds=3)
    assert found.met
    assert 0.9 - found.accuracy > 0.004


def test_a_target_below_the_table_is_refused():
    with pytest.raises(TrainingError, match=r"target_cycles 3,000: .* 0\.25, needs 3,850"):
        insert(3000, lambda keeps: 0.9)


def test_neighbours_that_differ_little_are_merged():
    keeps = (1.0, 1.0, 0.9, 0.85, 0.6, 0.59, 0.52, 0.3)
    assert merge_selectors(keeps, 0.085) == (1.0, 1.0, 0.85, 0.85, 0.52, 0.52, 0.52, 0.3)
    assert merge_selectors(keeps, 0.0) == keeps
    assert merge_selectors((1.0, 0.9, 0.83, 0.77), 0.085) == (1.0, 0.83, 0.83, 0.77)


def test_merging_counts_only_if_accuracy_holds():
    least = {4: 0.68, 5: 0.62, 6: 0.56, 7: 0.50}

    def accuracy(keeps):
        return 0.9 if all(keeps[block] >= share for block, share in least.items()) else 0.5

    found, tried = insert(6600, accuracy, step=0.02)
    assert len(stages_of(tried[-1])) < len(found.stages), "the last attempt is the merged one"
    assert accuracy(tried[-1]) == 0.5
    assert found.met
    assert accuracy(found.keeps) == 0.9
    merged, _ = insert(6600, lambda keeps: 0.9 if keeps[7] >= 0.5 else 0.5, step=0.02)
    assert merged.met
    assert len(merged.stages) < len(found.stages)


def test_ratio_loss_is_of_the_average_over_images():
    alive = torch.tensor([[[1.0, 1, 1, 1], [0, 0, 0, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]]])
    assert ratio_loss(alive, (0.5, 0.125)).item() == 0
    assert ratio_loss(alive, (0.75, 0.125)).item() == pytest.approx(0.0625)


def test_load(tmp_path):
    path = tmp_path / "table.json"
    entries = {"preset": "edge", "model": "m", "keep": [1, 0.5], "block_cycles": [9, 5]}
    path.write_text(json.dumps(entries | {"fixed_cycles": 3}))
    assert LatencyTable.load(path).model_cycles([1, 0.5]) == 17
    path.write_text(json.dumps(entries | {"fixed_cycles": 3, "block_cycles_dense": [8, 4]}))
    assert LatencyTable.load(path).model_cycles([1, 0.5, 0.5]) == 3 + 8 + 5 + 4
    path.write_text(json.dumps(entries | {"fixed_cycles": 3, "block_cycles": [5, 6]}))
    assert LatencyTable.load(path).block_cycles == (6, 6)
    for changed, text in (
        ({}, "not a latency table: 'fixed_cycles' is missing"),
        ({"fixed_cycles": 3, "keep": [1, "x"]}, "not a latency table"),
        ({"fixed_cycles": 3, "keep": [1, 1]}, "keep must fall, not"),
        ({"fixed_cycles": 3, "block_cycles": [5, 0]}, "block_cycles must not rise, nor be 0"),
        ({"fixed_cycles": 3, "keep": [0.9, 0.5]}, "keep must fall from 1"),
        ({"fixed_cycles": 3, "keep": [1]}, "keep and block_cycles must be as long as each other"),
    ):
        path.write_text(json.dumps(entries | changed))
        with pytest.raises(TrainingError, match=rf"table\.json: {text}"):
            LatencyTable.load(path)
    with pytest.raises(TrainingError, match="No such file"):
        LatencyTable.load(tmp_path / "none.json")
