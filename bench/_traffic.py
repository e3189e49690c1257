"""What processes of a Dask cluster send each other; a module, so that workers import it once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed.comm.tcp import TCP

from fastgd.distributed.dask import DaskBlocks

_sent = {"all": 0, "sums": 0}


def count_bytes() -> None:
    """From now on, count what the connections of this process send."""
    original = TCP.write

    async def write(self: TCP, message: Any, *args: Any, **options: Any) -> Any:
        sent = await original(self, message, *args, **options)
        _sent["all"] += sent or 0
        if isinstance(message, dict) and message.get("status") == "OK" and "data" in message:
            _sent["sums"] += sent or 0  # results of tasks, asked for by another process
        return sent

    TCP.write = write


def bytes_sent() -> dict[str, int]:
    return dict(_sent)


def traffic(client: Any, call: Callable[[], object]) -> dict[str, int]:
    """What `call` makes the processes send: everything, and results of tasks."""

    def now() -> dict[str, int]:
        counts = [bytes_sent(), *client.run(bytes_sent).values()]
        return {name: sum(count[name] for count in counts) for name in _sent}

    for _ in range(2):  # the first time, asking is counted with the rest
        before = now()
    asking = now()["all"] - before["all"]
    before = now()
    call()
    after = now()
    return {
        "all": after["all"] - before["all"] - asking, "sums": after["sums"] - before["sums"],
    }  # fmt: skip


def passes_of(call: Callable[[], object]) -> int:
    """How often `call` reads the data."""
    passes, original = 0, DaskBlocks.reduce

    def reduce(self: DaskBlocks, *args: Any) -> Any:
        nonlocal passes
        passes += 1
        return original(self, *args)

    DaskBlocks.reduce = reduce  # type: ignore[method-assign]
    try:
        call()
    finally:
        DaskBlocks.reduce = original  # type: ignore[method-assign]
    return passes
