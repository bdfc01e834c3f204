"""Searches: the same from a seed, wherever trials run and however often they were interrupted."""

import json

import pytest

pytest.importorskip("optuna")

from search.errors import SearchError
from search.study import Target
from search.workers import workers
from tests.search.searches import GENERATION, evaluator, outcome, searched, trials_of


@pytest.fixture(scope="module")
def own():
    return evaluator()


@pytest.fixture(scope="module")
def found(own):
    return searched(own)


def test_the_first_trial_is_the_model_as_it_is(own, found):
    first, *others = found.points
    assert first["trial"] == 0
    assert first["values"] == own.space.base
    assert first["preset"] == "tiny"
    assert any(point["values"] != first["values"] for point in others)


def test_a_seed_gives_the_same_study_twice(own, found):
    assert outcome(searched(own)) == outcome(found)
    assert outcome(searched(own, seed=2)) != outcome(found)


def test_refused_trials_say_why(found):
    assert found.refused
    assert len(found.refused) + len(found.points) == 2 * GENERATION
    for entry in found.refused:
        assert "must" in entry["reason"] or "needs" in entry["reason"]


def test_nothing_beats_the_front(found):
    signs = {"top1": -1, "cycles": 1, "dram_bytes": 1, "gates": 1}
    assert len(found.front) > 1
    for best in found.front:
        for point in found.points:
            differences = [sign * (point[key] - best[key]) for key, sign in signs.items()]
            assert not any(differences) or max(differences) > 0
    fastest = min(point["cycles"] for point in found.points)
    assert found.front[0]["cycles"] == fastest


class InterruptedSearchError(Exception):
    pass


def test_a_resumed_study_is_the_uninterrupted_one(own, found, tmp_path):
    file = tmp_path / "micro.study"
    searched(own, GENERATION, file=file)
    with workers(own) as run:

        def once(work):
            raise InterruptedSearchError(run(work[:1]))

        with pytest.raises(InterruptedSearchError):  # chosen, and not told
            trials_of(own, file=file).run(2 * GENERATION, once)
    measured = []

    with workers(own) as run:

        def watched(work):
            measured.extend(work)
            return run(work)

        again = trials_of(own, file=file)
        again.run(2 * GENERATION, watched)
    assert outcome(again) == outcome(found)
    assert 0 < len(measured) <= GENERATION
    assert outcome(searched(own, file=file)) == outcome(found)  # nothing is left to do


def test_trials_in_processes(own, found):
    assert outcome(searched(own, jobs=2)) == outcome(found)


def test_trials_on_a_cluster(own, found):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        assert outcome(searched(own, cluster=cluster.scheduler_address)) == outcome(found)


def test_no_cluster(own, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("search.workers.CONNECT_S", 1)
    with pytest.raises(SearchError, match=r"cluster tcp://127.0.0.1:1: cannot connect"):
        searched(own, cluster="tcp://127.0.0.1:1")


def test_a_target_of_cycles(own, found):
    limit = sorted(point["cycles"] for point in found.points)[len(found.points) // 2]
    aimed = searched(own, target=Target(cycles=limit))
    assert aimed.front
    assert all(point["cycles"] <= limit for point in aimed.front)
    best = aimed.target.best(aimed.front)
    assert best["top1"] == max(p["top1"] for p in aimed.points if p["cycles"] <= limit)


def test_a_target_of_accuracy(own):
    aimed = searched(own, target=Target(drop=0.02))
    least = aimed.points[0]["top1"] - 0.02
    best = aimed.target.best(aimed.front)
    assert best["top1"] >= least
    assert best["cycles"] == min(p["cycles"] for p in aimed.points if p["top1"] >= least)


def test_a_target_out_of_reach(own):
    aimed = searched(own, GENERATION, target=Target(cycles=10))
    assert aimed.front == []
    assert aimed.target.best(aimed.front) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, r"another seed \(1, not 2\)"),
        ({"target": Target(cycles=1000)}, "another target cycles"),
        ({"own": "micro-tokens"}, "another "),
    ],
)
def test_a_study_of_another_search(own, tmp_path, change, message):
    file = tmp_path / "micro.study"
    trials_of(own, file=file)
    other = evaluator(change.pop("own")) if "own" in change else own
    with pytest.raises(SearchError, match=message):
        trials_of(other, file=file, **change)


def test_what_is_no_study(own, tmp_path):
    for text in ("nonsense\n", json.dumps({"op_code": 99}) + "\n", "[1]\n"):
        file = tmp_path / "micro.study"
        file.write_text(text)
        with pytest.raises(SearchError, match="not a study"):
            trials_of(own, file=file)
