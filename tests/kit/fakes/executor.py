"""Executors without threads, so that requests come in an order that a test can tell."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

Params = ParamSpec("Params")
Result = TypeVar("Result")


class LazyFuture(Future[Result]):
    """A call that is made when its result is asked for."""

    def __init__(self, call: Callable[[], Result]) -> None:
        super().__init__()
        self._call = call

    def result(self, timeout: float | None = None) -> Result:
        return self._call()


class LazyExecutor(Executor):
    """Makes each call when its result is asked for: one request after another.

    Attributes
    ----------
    submitted : int
        How many calls were submitted.
    """

    def __init__(self) -> None:
        self.submitted = 0

    def submit(
        self, fn: Callable[Params, Result], /, *args: Params.args, **kwargs: Params.kwargs
    ) -> Future[Result]:
        self.submitted += 1
        return LazyFuture(partial(fn, *args, **kwargs))


class EagerExecutor(Executor):
    """Makes each call as it is submitted: the order that is furthest from `LazyExecutor`'s."""

    def submit(
        self, fn: Callable[Params, Result], /, *args: Params.args, **kwargs: Params.kwargs
    ) -> Future[Result]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as exc:
            future.set_exception(exc)
        return future
