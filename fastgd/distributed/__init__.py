"""Fits on several machines, by engines that schedule, retry and move: one file an engine.

Each block's sums are taken where the block lies; rows never travel. Sums are merged in an order
that block numbers alone fix (`Tree`), so that a fit has the same bits for any number of workers.

**Dask** (extra ``dask``): ``fastgd.fit(X, y, sample_weight=...)`` with arrays or dataframes. Rows
are matched by position, not by index; X must not be cut between columns. Every read computes X
anew unless it is persisted. Tasks of a lost worker are Dask's to repeat. A lost scheduler is a
`ConnectionError`; where all workers are lost and the scheduler is not, Dask waits for others,
unless its setting ``distributed.scheduler.no-workers-timeout`` says for how long.

**Spark** (extra ``spark``): ``fastgd.fit(frame, "y", sample_weight="w")``; all other columns are
features. A block is an Arrow batch (``spark.sql.execution.arrow.maxRecordsPerBatch``), and every
partition's sums go to the driver. The bits are those of a partitioning: Spark may cut data
otherwise from run to run, and after a shuffle the order of rows is not fixed; files written once,
or ``cache()``, keep it.

Another engine, for MPI say, is a class with the attributes of a `Layout`, ``is_read_once`` and
``reduce``. Here threads stand for machines:

>>> from concurrent.futures import ThreadPoolExecutor
>>> import numpy as np
>>> import fastgd
>>> from fastgd.distributed import Tree, layout_of, work_on
>>> class Pool:
...     is_read_once = False
...     n_threads = 1  # for each block
...     def __init__(self, parts):
...         self.parts = parts
...         vars(self).update(layout_of(*parts[0])._asdict())
...     def reduce(self, work, merge):
...         def on_part(number):
...             return work_on(work, number, *self.parts[number], None, "error")
...         tree = Tree(merge)
...         with ThreadPoolExecutor(2) as pool:
...             for value in pool.map(on_part, range(len(self.parts))):
...                 tree.add(value)
...         return tree.total()
>>> X = np.arange(12.0).reshape(6, 2) ** 2
>>> y = X @ [1.0, 2.0] + 3.0
>>> fastgd.fit(Pool([(X[:4], y[:4]), (X[4:], y[4:])])).coef.round(6).tolist()
[1.0, 2.0]

A database can make moments of its own sums:

>>> import sqlite3
>>> database = sqlite3.connect(":memory:")
>>> _ = database.execute("create table t (x, y)")
>>> _ = database.executemany("insert into t values (?, ?)", [(1, 3), (2, 5), (3, 7), (4, 9)])
>>> n, x, y = database.execute("select count(*), avg(x), avg(y) from t").fetchone()
>>> xx, xy, yy = database.execute(
...     "select sum((x-:x)*(x-:x)), sum((x-:x)*(y-:y)), sum((y-:y)*(y-:y)) from t", {"x": x, "y": y}
... ).fetchone()
>>> database.close()
>>> moments = fastgd.Moments(n, float(n), np.array([x, y]), np.array([[xx, xy], [xy, yy]]))
>>> result = fastgd.fit(moments)
>>> result.coef.round(6).tolist(), round(result.intercept, 6)
([2.0], 1.0)
"""

from fastgd._data.blocks import Blocks, Layout, Tree, layout_of, merge_in_order, work_on

__all__ = ["Blocks", "Layout", "Tree", "layout_of", "merge_in_order", "work_on"]
