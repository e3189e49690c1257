"""Run by test_threads.py, one part a process: fits across fork, in pools, and interrupted."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings

import numpy as np

import fastgd

warnings.simplefilter("ignore", fastgd.ConvergenceWarning)
warnings.simplefilter("ignore", DeprecationWarning)  # of fork where there are threads


def data(n=600_011, d=3):
    """Enough for several threads."""
    rng = np.random.default_rng(8)
    X = rng.standard_normal((n, d), np.float32)
    return X, X.sum(axis=1) + rng.standard_normal(n, np.float32)


def bits_of_fit(strategy="stream", n_threads=3):
    """A fit that all parts and processes must agree on, to the byte."""
    X, y = data()
    result = fastgd.fit(X, y, strategy=strategy, n_threads=n_threads, max_iter=5, tol=0)
    value = fastgd.mse_and_gradient(X, y, result.coef, n_threads=n_threads)
    numbers = [*result.coef, result.intercept, *result.loss_history, value.mse, *value.gradient]
    assert not [thread for thread in threading.enumerate() if "fastgd" in thread.name]
    return np.array(numbers).tobytes().hex()


def in_child(work):
    """`work()` in a forked child: whether all went well there."""
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(60)
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def fork():
    expected = {strategy: bits_of_fit(strategy) for strategy in ("stream", "moments")}

    def same():
        for strategy, bits in expected.items():
            assert bits_of_fit(strategy) == bits

    def same_after_compiling():
        same()
        x = np.arange(50.0)  # kernels that the parent has not compiled
        fastgd.mse_and_gradient(np.stack([x] * 7, axis=1), x, np.zeros(7))

    def same_in_child():
        same()
        assert in_child(same_after_compiling)
        same()

    assert in_child(same)
    assert in_child(same_in_child)
    same()


def fork_while_others_fit():
    expected = bits_of_fit()
    stop = threading.Event()
    wrong = []

    def keep_fitting():
        while not stop.is_set():
            if bits_of_fit_quietly() != expected:
                wrong.append(1)

    threads = [threading.Thread(target=keep_fitting) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert in_child(lambda: bits_of_fit_quietly() == expected or os._exit(3))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong


def bits_of_fit_quietly():
    """As `bits_of_fit`, where other threads of this process fit, too."""
    X, y = data()
    result = fastgd.fit(X, y, strategy="stream", n_threads=3, max_iter=5, tol=0)
    value = fastgd.mse_and_gradient(X, y, result.coef, n_threads=3)
    numbers = [*result.coef, result.intercept, *result.loss_history, value.mse, *value.gradient]
    return np.array(numbers).tobytes().hex()


def start(method):
    expected = bits_of_fit()
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(call, range(4)) == [expected] * 4
    assert bits_of_fit() == expected


def call(_):
    return bits_of_fit_quietly()


def joblib(backend):
    from joblib import Parallel, delayed

    expected = bits_of_fit()
    found = Parallel(n_jobs=2, backend=backend)(delayed(call)(i) for i in range(6))
    assert found == [expected] * 6
    X, y = data()  # which joblib hands to its processes as a read-only memory map
    found = Parallel(n_jobs=2, backend=backend, max_nbytes=1000)(
        delayed(fastgd.mse_and_gradient)(X, y, np.zeros(3)) for _ in range(2)
    )
    here = fastgd.mse_and_gradient(X, y, np.zeros(3))
    assert all(value.mse == here.mse for value in found)
    assert bits_of_fit() == expected


def interrupt(strategy, n, d, order, n_threads, max_iter):
    """Print the seconds from SIGINT to KeyboardInterrupt, of three fits; then fit again."""
    X = np.ones((n, d), np.float32, order)
    X[::2] = 0.5
    X += np.linspace(0, 1, d, dtype=np.float32)
    y = np.linspace(0, 1, n, dtype=np.float32)
    options = {"strategy": strategy, "n_threads": n_threads, "tol": 0}
    options |= {"learning_rate": 1e-9, "max_iter": max_iter}
    fastgd.fit(X[:100], y[:100], strategy=strategy, max_iter=1, learning_rate=1e-9)
    seconds = []
    for wait in (0.3, 0.45, 0.6):
        sent = []

        def send(wait=wait, sent=sent):
            time.sleep(wait)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        sender = threading.Thread(target=send)
        try:
            sender.start()
            fastgd.fit(X, y, **options)
        except KeyboardInterrupt:
            seconds.append(time.perf_counter() - sent[0])
        else:
            try:
                sender.join()
                time.sleep(0.1)
            except KeyboardInterrupt:
                pass
            sys.exit("the fit ended before it was interrupted")
        sender.join()
        left = [thread.name for thread in threading.enumerate() if "fastgd" in thread.name]
        assert not left, left
    assert fastgd.fit([0.0, 1.0, 2.0], [1.0, 3.0, 5.0]).coef > 1.99
    bits_of_fit()
    print(json.dumps(seconds))


if __name__ == "__main__":
    arguments = [int(text) if text.isdecimal() else text for text in sys.argv[2:]]
    globals()[sys.argv[1]](*arguments)
    print("done")
