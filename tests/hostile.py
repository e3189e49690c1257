"""Run by test_hostile.py, one part a process: what goes wrong around fits in production.

Each part takes how often it is to be tried; the last line but "done" that it prints is what it
measured, in JSON.
"""

import asyncio
import json
import os
import resource
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from concurrent_fits import bits_of_fit, bits_of_fit_quietly, data, in_child

import fastgd
from fastgd.backends.numba import _compile

warnings.simplefilter("ignore", fastgd.ConvergenceWarning)
warnings.simplefilter("ignore", DeprecationWarning)  # of fork where there are threads

RNG = np.random.default_rng(int(os.environ.get("FASTGD_SEED", "3")))
SMALL = np.arange(300, dtype="f4").reshape(100, 3) ** 2 % 11


def small_bits(**options):
    """A fit that takes no time, and must always end in the same bits."""
    result = fastgd.fit(SMALL, SMALL @ np.float32([1, 2, 3]) + 1, **options)
    return np.array([*result.coef, result.intercept, result.loss]).tobytes()


def prefork(n_fits):
    """A server: warm up, fork four workers, each fits."""
    fastgd.warmup(n_features=3)
    expected, small = bits_of_fit(), small_bits()

    def serve():
        for number in range(n_fits):
            assert small_bits() == small
            if number % 10 == 0:
                assert bits_of_fit() == expected

    workers = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            signal.alarm(300)
            ended = 1
            try:
                serve()
                ended = 0
            finally:
                os._exit(ended)
        workers.append(child)
    assert [os.waitpid(child, 0)[1] for child in workers] == [0] * 4
    assert bits_of_fit() == expected


def threads_and_forks(n_forks):
    """Sixteen threads fit all the time while children are forked, which fit, too."""
    expected, small = bits_of_fit(), small_bits()
    stop, wrong, count = threading.Event(), [], [0]

    def keep_fitting():
        while not stop.is_set():
            if small_bits() != small or bits_of_fit_quietly() != expected:
                wrong.append(1)
            count[0] += 1

    team = [threading.Thread(target=keep_fitting) for _ in range(16)]
    for thread in team:
        thread.start()
    try:
        for _ in range(n_forks):
            assert in_child(lambda: bits_of_fit_quietly() == expected or os._exit(3))
    finally:
        stop.set()
        for thread in team:
            thread.join()
    assert not wrong
    assert count[0] >= 16


def end_of_process(n_threads):
    """The interpreter ends in the middle of a fit of a daemon thread."""
    X, y = data()
    options = {"learning_rate": 1e-9, "tol": 0, "max_iter": 10**9, "strategy": "stream"}
    fastgd.mse_and_gradient(X, y, np.zeros(3))
    thread = threading.Thread(
        target=fastgd.fit, args=(X, y), kwargs={**options, "n_threads": n_threads}, daemon=True
    )
    thread.start()
    time.sleep(0.2)
    assert thread.is_alive()


def event_loop(n_fits):
    """As in a notebook: fits in a coroutine, and in threads of the running loop."""
    expected, small = bits_of_fit(), small_bits()

    async def cell():
        assert bits_of_fit() == expected
        for _ in range(n_fits):
            assert small_bits() == small
        found = await asyncio.gather(*(asyncio.to_thread(bits_of_fit_quietly) for _ in range(6)))
        assert set(found) == {expected}

    asyncio.run(cell())
    asyncio.run(cell())


def endless_fits():
    """Fits of all kinds that do not end by themselves, and compiling without end."""
    X, y = data(2_000_000)
    wide = RNG.standard_normal((20_000, 400)).astype("f4")
    few = {"learning_rate": 1e-9, "tol": 0, "max_iter": 10**9}
    numpy_backend = {**few, "backend": "numpy"}

    def again(work):
        while True:
            work()

    return {
        "stream": lambda: fastgd.fit(X, y, strategy="stream", **few),
        "one thread": lambda: fastgd.fit(X, y, strategy="stream", n_threads=1, **few),
        "moments": lambda: again(lambda: fastgd.Moments.of(wide, wide[:, 0])),
        "on moments": lambda: fastgd.fit(X[:1000], y[:1000], strategy="moments", **few),
        "numpy": lambda: fastgd.fit(X, y, strategy="stream", **numpy_backend),
        "batches": lambda: fastgd.fit(X, y, batch_size=500, **few),
        "small": lambda: again(small_bits),
        "compiling": lambda: again(lambda: (_compile._entries.clear(), small_bits())),
    }


def threads_end_within(seconds):
    end = time.perf_counter() + seconds
    while any("fastgd" in thread.name for thread in threading.enumerate()):
        if time.perf_counter() > end:
            return False
        time.sleep(0.01)
    return True


def interrupts(count):
    """SIGINT at random moments; afterwards all is as before. Prints the seconds to each answer."""
    expected, small = bits_of_fit(), small_bits()
    kinds = endless_fits()
    seconds = {name: [] for name in kinds}
    for number in range(count):
        name = list(kinds)[number % len(kinds)]
        sent, wait, answered = [], RNG.uniform(0.0, 0.4), threading.Event()

        def send(wait=wait, sent=sent, answered=answered):
            time.sleep(wait)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)
            # Python drops one that comes in a finaliser, of which llvmlite has many: press again.
            while not answered.wait(3.0):
                os.kill(os.getpid(), signal.SIGINT)

        sender = threading.Thread(target=send)
        signal.alarm(60)
        try:
            sender.start()
            kinds[name]()
        except KeyboardInterrupt:
            answered.set()
            seconds[name].append(time.perf_counter() - sent[0])
        signal.alarm(0)
        sender.join()
        assert threads_end_within(5.0)  # a second interrupt does not wait for a compilation
        assert small_bits() == small
    assert bits_of_fit() == expected
    assert sum(map(len, seconds.values())) == count
    print(json.dumps({name: round(max(times), 3) for name, times in seconds.items() if times}))


def status(name):
    """A number of /proc/self/status, in bytes if it is one of memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            number, *unit = line.split()[1:]
            return int(number) * (1024 if unit else 1)
    raise KeyError(name)


def memory_limit(count):
    """What needs more memory than there may be ends in a MemoryError, and nothing else."""
    small, x = small_bits(), np.zeros(60_000_000, "i2")
    wide = np.ones((4, 9000), "f4")
    wide[::2] = 2
    bits_of_fit()
    hungry = {
        "a copy": lambda: fastgd.fit(x, x),
        "a copy of y": lambda: fastgd.mse_and_gradient(np.ones(len(x), "f2"), x, 1.0),
        "moments": lambda: fastgd.Moments.of(wide, wide[:, 0]),
        "predictions": lambda: fastgd.fit([0.0, 1.0], [1.0, 2.0]).predict(x),
    }
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    refused = 0
    for number in range(count):
        work = list(hungry.values())[number % len(hungry)]
        room = int(RNG.integers(20, 200)) << 20
        resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + room, hard))
        try:
            work()
        except MemoryError:
            refused += 1
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        assert small_bits() == small
    print(json.dumps({"refused": refused}))
    assert refused == count


def threads_limit(_):
    """Where no thread can be started a fit does without."""
    expected = bits_of_fit()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    X, y = data()
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + (6 << 20), hard))
    value = fastgd.mse_and_gradient(X, y, np.zeros(3), n_threads=8)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    alone = fastgd.mse_and_gradient(X, y, np.zeros(3), n_threads=1)
    assert np.array_equal(np.hstack(value), np.hstack(alone))
    assert bits_of_fit() == expected


def many_fits(count):
    """Memory, threads and descriptors stay what they are."""
    X, y = data(20_000)
    kinds = (
        lambda: fastgd.fit(X[:500], y[:500]),
        lambda: fastgd.fit(X[:500], y[:500], learning_rate=0.1, max_iter=5, tol=0),
        lambda: fastgd.fit(X[:500], y[:500], strategy="stream", backend="numpy"),
        lambda: fastgd.mse_and_gradient(X[::2], y[::2], np.zeros(3)),
        lambda: fastgd.fit(X[:500].astype(int), y[:500], sample_weight=np.ones(500)).summary,
        refused_fit,
    )

    def fits(number):
        for k in range(number):
            kinds[k % len(kinds)]()
            if k % 100 == 0:
                fastgd.fit(*big, strategy="stream", n_threads=3, max_iter=2)

    def used():
        return status("VmRSS"), status("Threads"), len(os.listdir("/proc/self/fd"))

    big = data()
    fits(600)
    memory, n_threads, n_files = used()
    fits(count)
    after = used()
    print(json.dumps({"bytes a fit": round((after[0] - memory) / count)}))
    assert after[1:] == (n_threads, n_files)
    assert after[0] - memory < (6 << 20), (memory, after[0])


def refused_fit():
    try:
        fastgd.fit(SMALL * np.nan, SMALL[:, 0])
    except ValueError:
        return
    raise AssertionError("NaN were taken")


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]))
    print("done", flush=True)
