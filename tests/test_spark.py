"""Fits of Spark's DataFrames: the same bits for any number of executors' threads."""

import sys
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastgd
from fastgd import Moments
from fastgd._data.blocks import Tree

pytest.importorskip("pyspark", reason="the extra spark is not installed")
pa = pytest.importorskip("pyarrow")

pytestmark = [
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets of Spark's own
]

N, BATCH, PARTS = 1000, 64, 3


@pytest.fixture(scope="module")
def spark():
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "localhost")
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH)
            .getOrCreate()
        )
        yield session
        session.stop()


def table():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((N, 3), dtype=np.float32)
    y = X @ np.float32([1, 2, 3]) + 4 + rng.standard_normal(N, dtype=np.float32)
    columns = dict(zip("abc", X.T, strict=True))
    return pa.table({**columns, "y": y, "z": -y, "w": np.arange(N) % 3})


def frame_of(spark, given, n_parts=PARTS):
    """Rows in the order of the table, cut into so many partitions."""
    return spark.createDataFrame(given.to_pylist(), _schema(given), verifySchema=False).coalesce(
        n_parts
    )


def _schema(given):
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(given.schema)


def local_moments(frame, y, weight=None):
    """Of the partitions as they are, batch by batch."""
    parts = frame.rdd.glom().collect()
    whole = Tree(lambda a, b: a + b)
    for rows in parts:
        tree = Tree(lambda a, b: a + b)
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            X = np.array([[row[name] for name in "abc"] for row in some], np.float32)
            target = np.array([[row[name] for name in y] for row in some], np.float32)
            weights = None if weight is None else np.array([row[weight] for row in some])
            target = target[:, 0] if len(y) == 1 else target
            tree.add(Moments.of(np.asfortranarray(X), target, weights))
        if rows:
            whole.add(tree.total())
    return whole.total()


def test_has_the_bits_of_local_batches(spark):
    frame = frame_of(spark, table())
    result = fastgd.fit(frame.select(*"abc", "y"), "y")
    assert result.feature_names == ("a", "b", "c")
    assert result.moments == local_moments(frame, ["y"])
    again = fastgd.fit(frame.select(*"abc", "y").coalesce(PARTS), "y")
    assert again.moments == result.moments
    assert_array_equal(again.coef, result.coef)


def test_takes_weights_and_several_targets(spark):
    frame = frame_of(spark, table())
    result = fastgd.fit(frame, ["y", "z"], sample_weight="w")
    assert result.coef.shape == (3, 2)
    assert result.moments == local_moments(frame, ["y", "z"], "w")


def test_streams(spark):
    frame = frame_of(spark, table()).select(*"abc", "y").cache()
    streamed = fastgd.fit(frame, "y", strategy="stream", method="cg")
    np.testing.assert_allclose(streamed.coef, fastgd.fit(frame, "y").coef, rtol=1e-5)
    assert streamed.strategy.startswith("stream")


def test_drops_rows_with_nulls(spark):
    given = table().select([*"abc", "y"])
    gaps = pa.array([None if i % 5 == 0 else float(i) for i in range(N)], pa.float32())
    frame = frame_of(spark, given.set_column(0, "a", gaps))
    with pytest.raises(ValueError, match=r"in block 0 of partition \d: .*'a' in row \d+ is nan"):
        fastgd.fit(frame, "y")
    assert fastgd.fit(frame, "y", missing="drop").moments.n_samples == N * 4 // 5


def test_partitions_without_rows_are_left_out(spark):
    frame = frame_of(spark, table()).select(*"abc", "y")
    some = frame.where("a > 2.5")
    assert fastgd.fit(some, "y").moments.n_samples == some.count()
    with pytest.raises(ValueError, match="X has no rows"):
        fastgd.fit(frame.where("a > 100"), "y")


@pytest.mark.parametrize(
    ("y", "weight", "message"),
    [
        (None, None, "y must name a column"),
        (np.zeros(N), None, "y must name a column"),
        ("missing", None, "X has no column 'missing'"),
        ("y", np.ones(N), "sample_weight must name a column"),
        ("y", "missing", "X has no column 'missing'"),
        (["a", "b", "c", "y", "z", "w"], None, "X has no columns besides"),
    ],
)
def test_columns_are_named(spark, y, weight, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fastgd.fit(frame_of(spark, table()), y, sample_weight=weight)


def test_columns_of_words_are_refused_unread(spark):
    from pyspark.sql.functions import lit

    with pytest.raises(TypeError, match="column 'word' is of type string"):
        fastgd.fit(frame_of(spark, table()).withColumn("word", lit("word")), "y")
