"""Values that another thread fetches while the caller works on the last one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextvars import copy_context
from threading import Condition, Thread
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

_END = object()


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class Prefetch(Generic[T]):
    """The values of an iterator, which lives in a thread of its own from its first to its end.

    ``ahead()`` says how many values may be fetched beyond the one that the caller has: none means
    in turn. Whoever makes one closes it; the thread then ends once the value that it is fetching
    is there, and closes the iterator.
    """

    def __init__(self, make: Callable[[], Iterator[T]], ahead: Callable[[], int]) -> None:
        self._make, self._ahead = make, ahead
        self._fetched: deque[object] = deque()
        self._change = Condition()
        self._asked, self._closed, self._ended = 0, False, False
        # What the caller has set in context variables holds for its iterator, too. Daemonic, so
        # that an interpreter may end even where an iterator waits forever.
        work = copy_context().run
        self._thread = Thread(target=work, args=(self._fetch,), name="fastgd-fetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        with self._change:
            self._asked += 1
            self._change.notify_all()
            while not self._fetched:
                self._change.wait()
            value = self._fetched.popleft()
        if value is _END:
            self._ended = True
            raise StopIteration
        if isinstance(value, _Failed):
            self._ended = True
            try:
                raise value.error
            finally:
                del value  # no circle through the traceback
        return cast(T, value)

    def close(self) -> None:
        """End the thread."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()
        self._fetched.clear()

    def _fetch(self) -> None:
        values: Any = None
        try:
            values = self._make()
            number = 0
            while self._may_fetch(number):
                value = next(values, _END)
                self._put(value)
                if value is _END:
                    break
                del value
                number += 1
        except BaseException as error:
            self._put(_Failed(error))
        finally:
            if hasattr(values, "close"):
                values.close()

    def _may_fetch(self, number: int) -> bool:
        with self._change:
            while not self._closed and number >= self._asked + self._ahead():
                self._change.wait()
            return not self._closed

    def _put(self, value: object) -> None:
        with self._change:
            self._fetched.append(value)
            self._change.notify_all()
