"""Where trials run: in this process, in others, or on a cluster of dask.distributed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from search.errors import SearchError
from search.evaluate import Evaluator

__all__ = ["Map", "workers"]

CONNECT_S = 10
Job = tuple[str, dict[str, Any]]
"""A method of `Evaluator` and the settings for it."""
Map = Callable[[Sequence[Job]], list[Any]]
"""Runs jobs; results in their order."""

_evaluator: Evaluator | None = None
"""Of this worker process."""


def _start(evaluator: Evaluator) -> None:
    global _evaluator
    _evaluator = evaluator


def _run(job: Job) -> Any:  # noqa: ANN401
    assert _evaluator is not None
    return _call(job, _evaluator)


def _call(job: Job, evaluator: Evaluator) -> Any:  # noqa: ANN401
    method, values = job
    return getattr(evaluator, method)(values)


@contextmanager
def workers(evaluator: Evaluator, jobs: int = 1, cluster: str | None = None) -> Iterator[Map]:
    """Give a function that runs jobs.

    jobs : processes; with 1 everything runs in this one
    cluster : address of a scheduler of dask.distributed, whose workers have sievit; instead of
        processes
    """
    if cluster is not None:
        with _cluster(evaluator, cluster) as run:
            yield run
    elif jobs == 1:
        yield lambda work: [_call(job, evaluator) for job in work]
    else:
        # Not forked: this process has threads, of numpy among others.
        context = get_context("spawn")
        with ProcessPoolExecutor(jobs, context, _start, (evaluator,)) as pool:
            yield lambda work: list(pool.map(_run, work))


@contextmanager
def _cluster(evaluator: Evaluator, address: str) -> Iterator[Map]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SearchError(f"cluster {address}: cannot connect: {reason}") from None
    with client:
        shared = client.scatter(evaluator, broadcast=True)

        def run(work: Sequence[Job]) -> list[Any]:
            futures = client.map(_call, work, evaluator=shared, pure=False)
            return [future.result() for future in futures]

        yield run
