"""The search itself: Optuna chooses and remembers, generation by generation.

The same seed and number of trials give the same study, however many processes measure, and however
often it was interrupted between: all trials of a generation are chosen before one of them is
measured, each with a seed of its own, and results are told in their order.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import NSGAIISampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from search.errors import SearchError
from search.evaluate import OBJECTIVES
from search.workers import Map

__all__ = ["GENERATION", "Target", "Trials"]

GENERATION = 16
"""Trials that are chosen together."""
NAME = "sievit"
SETTINGS, MEASURED, REFUSED = "settings", "measured", "refused"
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a point must reach; at most one of them."""

    cycles: float | None = None
    """Mean cycles, at most."""
    drop: float | None = None
    """Top-1 below that of the model as it is, at most, as a share."""

    def missed(self, found: Mapping[str, Any], base: Mapping[str, Any]) -> float:
        """By how much a point misses it; 0 or less: it does not."""
        if self.cycles is not None:
            return found["cycles"] / self.cycles - 1
        if self.drop is not None:
            return base["top1"] - self.drop - found["top1"]
        return 0.0

    def best(self, points: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The most accurate of points with few enough cycles, or the fastest accurate one."""
        if not points or (self.cycles is None and self.drop is None):
            return None
        accuracy_first = self.cycles is not None

        def order(point: dict[str, Any]) -> tuple[float, ...]:
            ranks = (-point["top1"], point["cycles"])
            rest = (point["gates"], point["dram_bytes"], point["trial"])
            return (*(ranks if accuracy_first else ranks[::-1]), *rest)

        return min(points, key=order)


class Trials:
    """A study, new or read from a file, of one search."""

    def __init__(
        self,
        knobs: Mapping[str, tuple[Any, ...]],
        target: Target,
        settings: Mapping[str, Any],
        file: Path | None = None,
        seed: int = 0,
        generation: int = GENERATION,
    ) -> None:
        """Open the study; `SearchError` if the file has one of another search.

        settings : by name what makes the search what it is: model, machine, images ..
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.knobs, self.target, self.seed, self.generation = knobs, target, seed, generation
        self._storage, self._study = _opened(file)
        self._belong(
            {
                **settings,
                "target_cycles": target.cycles,
                "max_drop": target.drop,
                "seed": seed,
                "generation": generation,
                "knobs": {name: list(choices) for name, choices in knobs.items()},
            },
            file,
        )

    def _belong(self, settings: dict[str, Any], file: Path | None) -> None:
        now = json.loads(json.dumps(settings))
        then = self._study.user_attrs.get(SETTINGS)
        if then is None:
            if self._study.trials:
                raise SearchError(f"{file}: a study that is not of `sievit search`")
            self._study.set_user_attr(SETTINGS, now)
            return
        for name in sorted(then.keys() | now.keys()):
            if then.get(name) != now.get(name):
                raise SearchError(
                    f"{file}: a study with another {name.replace('_', ' ')} "
                    f"({_short(then.get(name))}, not {_short(now.get(name))}); give another --study"
                )

    def run(self, count: int, measure: Map, tell: Tell = lambda text: None) -> None:
        """Go on until there are `count` trials, or a few more: generations are whole."""
        size = self.generation
        total = -(-count // size) * size
        while True:
            waiting = self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
            done = len(self._study.get_trials(deepcopy=False)) - len(waiting)
            if not waiting and done >= total:
                return
            end = -(-(done + 1) // size) * size
            tell(f"trials {done} to {end - 1} of {total}")
            batch = [self._trial(trial.number) for trial in waiting]
            while len(self._study.get_trials(deepcopy=False)) < end:
                batch.append(self._next())
            self._measure(batch, measure)

    def _next(self) -> Trial:
        """Choose the next trial; those of the first generation by `_first`."""
        number = len(self._study.get_trials(deepcopy=False))
        if number < self.generation:
            self._study.enqueue_trial(self._first(number))
        self._seed(number)
        trial = self._study.ask()
        assert trial.relative_params is not None  # makes it one of its generation, if enqueued too
        for name, choices in self.knobs.items():
            trial.suggest_categorical(name, choices)
        return trial

    def _first(self, number: int) -> dict[str, Any]:
        """The model and the machine as they are, then with more and more knobs turned."""
        rng = np.random.default_rng((self.seed, number))
        names = list(self.knobs)
        count = -(-len(names) * number // self.generation)
        turned = {names[place] for place in rng.permutation(len(names))[:count]}
        values = {}
        for name, choices in self.knobs.items():
            others = choices[1:] if name in turned else ()
            values[name] = others[rng.integers(len(others))] if others else choices[0]
        return values

    def _trial(self, number: int) -> Trial:
        """A trial that was chosen but not measured before an interruption."""
        study = self._storage.get_study_id_from_name(NAME)
        self._seed(number)
        trial = Trial(
            self._study, self._storage.get_trial_id_from_study_id_trial_number(study, number)
        )
        for name, choices in self.knobs.items():
            trial.suggest_categorical(name, choices)
        return trial

    def _seed(self, number: int) -> None:
        """A sampler that depends on nothing but the study and the trial's number."""
        words = np.random.SeedSequence((self.seed, number)).generate_state(1)
        # Half of a generation is enough for parents: some trials are refused.
        self._study.sampler = NSGAIISampler(
            population_size=max(2, self.generation // 2), seed=int(words[0])
        )

    def _measure(self, batch: list[Trial], measure: Map) -> None:
        """Measure trials, each kind of them once, and tell what was found."""
        known = {_key(trial.params): _found(trial) for trial in self.finished()}
        new = {_key(trial.params): trial.params for trial in batch}
        new = {key: params for key, params in new.items() if key not in known}
        results = measure([("measure", params) for params in new.values()])
        known |= dict(zip(new, results, strict=True))
        for trial in batch:
            self._tell(trial, known[_key(trial.params)])

    def _tell(self, trial: Trial, found: dict[str, Any]) -> None:
        reason = found.get(REFUSED)
        if reason is not None:
            if not trial.number:
                raise SearchError(f"the model as it is does not run on this machine: {reason}")
            trial.set_user_attr(REFUSED, reason)
            self._study.tell(trial, state=TrialState.PRUNED)
            return
        base = self.base if trial.number else found
        trial.set_user_attr(MEASURED, found)
        if not trial.constraints:
            trial.set_constraint("target", self.target.missed(found, base))
        self._study.tell(trial, [found[name] for name in OBJECTIVES])

    def finished(self) -> list[FrozenTrial]:
        """Trials that were measured or refused, in their order."""
        states = [TrialState.COMPLETE, TrialState.PRUNED]
        return self._study.get_trials(deepcopy=False, states=states)

    @property
    def base(self) -> dict[str, Any]:
        """Figures of the model and the machine as they are."""
        return _found(self.finished()[0])

    @property
    def points(self) -> list[dict[str, Any]]:
        """Every measured trial: its number (`trial`), settings (`values`), figures, `missed`."""
        return [
            {
                "trial": trial.number,
                "values": trial.params,
                "missed": self.target.missed(_found(trial), self.base),
                **_found(trial),
            }
            for trial in self.finished()
            if trial.state == TrialState.COMPLETE
        ]

    @property
    def front(self) -> list[dict[str, Any]]:
        """Points that reach the target and that no other such point beats, the fastest first.

        Of points with the same figures the first counts.
        """
        numbers = {trial.number for trial in self._study.best_trials}
        kinds: dict[tuple[float, ...], dict[str, Any]] = {}
        for point in self.points:
            if point["trial"] in numbers:
                kinds.setdefault(tuple(point[name] for name in OBJECTIVES), point)
        return sorted(kinds.values(), key=lambda point: (point["cycles"], -point["top1"]))

    @property
    def refused(self) -> list[dict[str, Any]]:
        """Every trial without a machine or a program: its number, settings and the reason."""
        return [
            {"trial": trial.number, "values": trial.params, "reason": _found(trial)[REFUSED]}
            for trial in self.finished()
            if trial.state == TrialState.PRUNED
        ]


def _opened(file: Path | None) -> tuple[BaseStorage, Study]:
    """A study in a file of JSON lines, or in memory."""
    try:
        storage = JournalStorage(JournalFileBackend(str(file))) if file else InMemoryStorage()
        study = optuna.create_study(
            storage=storage,
            study_name=NAME,
            directions=list(OBJECTIVES.values()),
            load_if_exists=True,
        )
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError):
        raise SearchError(f"{file}: not a study file") from None
    except OSError as error:
        raise SearchError(f"{file}: {error.strerror}") from None
    return storage, study


def _found(trial: FrozenTrial) -> dict[str, Any]:
    if MEASURED in trial.user_attrs:
        return trial.user_attrs[MEASURED]
    return {REFUSED: trial.user_attrs[REFUSED]}


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


def _short(value: Any) -> str:  # noqa: ANN401
    text = str(value)
    return text if len(text) <= 40 else text[:40] + ".."
