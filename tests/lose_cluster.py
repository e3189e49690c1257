"""Lose a whole Dask cluster, by SIGKILL, in the middle of a fit; print the error.

The folder given is used for files of the cluster's.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import dask
import dask.array as da
import numpy as np
from distributed import Client

import fastgd


def take_time(block, started):
    """Tell that the fit has begun, and go on slowly."""
    Path(started).touch()
    time.sleep(0.3)
    return block


def main(folder: Path) -> None:
    file, started = str(folder / "scheduler.json"), folder / "started"
    parts = (["scheduler", "--port", "0"], ["worker", "--no-nanny"])
    options = ["--scheduler-file", file, "--no-dashboard"]
    processes = [
        subprocess.Popen([sys.executable, "-m", "dask", *part, *options], stderr=subprocess.DEVNULL)
        for part in parts
    ]

    def kill() -> None:
        while not started.exists():
            time.sleep(0.02)
        for process in processes:
            process.kill()

    try:
        with dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
            Client(scheduler_file=file)
            X = da.ones((400, 3), chunks=(10, 3))
            X = X.map_blocks(take_time, str(started), meta=np.empty((0, 3)))
            Thread(target=kill).start()
            fastgd.fit(X, da.ones(400, chunks=10), backend="numpy")
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    for process in processes:
        process.kill()
        process.wait()
    os._exit(0)  # a client whose scheduler is gone takes its time to close


if __name__ == "__main__":
    main(Path(sys.argv[1]))
