"""Models in files: the same to the last bit, and wrong files told in one line."""

import json
import os
from dataclasses import fields, replace

import numpy as np
import pytest

import fastgd
from fastgd import StopReason

X = np.array([[0.1, 1.0, 0], [1.3, 1.0, 1], [2.7, 0.0, 3], [3.0, 2.0, 0], [4.0, -1.0, 1]])
Y = X @ [2.0, -1.0, 0.3] + 0.5 + np.array([0.1, -0.2, 0.0, 0.1, 0.3])


@pytest.fixture(scope="module")
def plane():
    return replace(fastgd.fit(X, Y, strategy="moments"), feature_names=("a", "é", "c"))


@pytest.fixture(scope="module")
def line():
    return fastgd.fit(X[:, 0], Y, fit_intercept=False, backend="numpy")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.json"


def is_same(a, b):
    for item in fields(a):
        if item.name not in ("moments", "_infer"):
            ours, others = getattr(a, item.name), getattr(b, item.name)
            assert type(ours) is type(others), item.name
            if isinstance(ours, np.ndarray):
                assert ours.dtype == others.dtype
                assert ours.tobytes() == others.tobytes()
            elif ours == ours:
                assert ours == others, item.name
    return True


class TestRoundTrip:
    def test_keeps_every_bit(self, plane, line, path):
        for result in (plane, line):
            result.save(path)
            assert is_same(fastgd.load(path), result)
            again = fastgd.load(str(path))
            at = X if result is plane else X[:, 0]
            assert np.array_equal(again.predict(at), result.predict(at))

    @pytest.mark.parametrize("n_targets", [1, 2])
    @pytest.mark.parametrize("n_features", [0, 1, 3])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_keeps_several_targets(self, path, n_targets, n_features, fit_intercept):
        at = X[:, :n_features] if n_features else X[:, 0]
        targets = np.column_stack([Y, X[:, 0] ** 2])[:, :n_targets]
        result = fastgd.fit(at, targets, fit_intercept=fit_intercept)
        result = replace(result, feature_names=("a", "b", "c")[: max(n_features, 1)])
        result.save(path)
        again = fastgd.load(path)
        assert is_same(again, result)
        assert again.coef.shape == (*((n_features,) if n_features else ()), n_targets)
        assert again.predict(at).shape == (5, n_targets)
        assert np.array_equal(again.predict(at), result.predict(at))

    def test_keeps_what_json_has_no_number_for(self, plane, path):
        odd = replace(plane, learning_rate=np.inf, grad_norm=np.nan, loss=5e-324)
        odd.save(path)
        again = fastgd.load(path)
        assert (again.learning_rate, again.loss) == (np.inf, 5e-324)
        assert np.isnan(again.grad_norm)
        assert "NaN" not in path.read_text("utf-8")

    @pytest.mark.parametrize("reason", StopReason)
    def test_keeps_why_it_ended(self, line, path, reason):
        replace(line, stop_reason=reason).save(path)
        assert fastgd.load(path).stop_reason is reason

    @pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
    def test_keeps_the_penalty(self, path, l1_ratio):
        result = fastgd.fit(X, Y, alpha=0.1, l1_ratio=l1_ratio)
        result.save(path)
        again = fastgd.load(path)
        assert (again.alpha, again.l1_ratio) == (0.1, l1_ratio)
        assert again.summary(result.moments).notes == result.summary().notes

    def test_of_files_written_before_the_penalty_was_kept(self, plane, path):
        plane.save(path)
        found = json.loads(path.read_text("utf-8"))
        del found["alpha"], found["l1_ratio"]
        path.write_text(json.dumps(found))
        again = fastgd.load(path)
        assert np.isnan([again.alpha, again.l1_ratio]).all()
        assert np.array_equal(again.predict(X), plane.predict(X))
        assert "a penalty is not known" in again.summary(plane.moments).notes[0]

    def test_summary_takes_moments(self, plane, path):
        plane.save(path)
        again = fastgd.load(path)
        assert repr(again.summary(plane.moments)) == repr(plane.summary())
        with pytest.raises(ValueError, match="has no moments"):
            again.summary()


def test_a_file_is_replaced_whole_or_not_at_all(line, path, monkeypatch):
    path.write_text("an older one")

    def fail(source, target):
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no"):
            line.save(path)
    assert path.read_text() == "an older one"
    assert os.listdir(path.parent) == ["model.json"]
    line.save(path)
    assert os.listdir(path.parent) == ["model.json"]


class TestWrongFiles:
    def refused(self, path, words):
        with pytest.raises(ValueError, match=words) as caught:
            fastgd.load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("text", ["", "{", "\x00\xff", "[" * 100_000, '{"a": tru}'])
    def test_that_are_no_json(self, path, text):
        path.write_text(text, "latin-1")
        self.refused(path, "cannot be read as a file of fastgd.FitResult")

    @pytest.mark.parametrize("text", ["[]", "1", "{}", '{"format": "fastgd.Moments"}'])
    def test_of_another_kind(self, path, text):
        path.write_text(text)
        self.refused(path, "is not a file of fastgd.FitResult")

    def test_of_moments(self, plane, path):
        plane.moments.save(path)
        self.refused(path, "cannot be read")

    @pytest.mark.parametrize(
        ("version", "words"),
        [(2, "is version 2 .* up to 1: upgrade"), (0, "never was"), (None, "has no version")],
    )
    def test_of_other_versions(self, line, path, version, words):
        line.save(path)
        path.write_text(json.dumps({**json.loads(path.read_text()), "version": version}))
        self.refused(path, words)

    @pytest.mark.parametrize(
        "field", [*[f.name for f in fields(fastgd.FitResult)][:12], "alpha", "l1_ratio"]
    )
    @pytest.mark.parametrize("value", [None, {}, [[]], "word"])
    def test_whose_fields_are_damaged(self, plane, path, field, value):
        if value == "word" and field in ("method", "strategy", "backend"):
            return
        plane.save(path)
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), field: value}))
        self.refused(path, "is not a whole model")

    @pytest.mark.parametrize("field", [f.name for f in fields(fastgd.FitResult)][:12])
    def test_whose_fields_are_missing(self, plane, path, field):
        plane.save(path)
        found = json.loads(path.read_text("utf-8"))
        del found[field]
        path.write_text(json.dumps(found))
        self.refused(path, f"is not a whole model.*{field}")

    def test_with_too_few_names(self, plane, path):
        plane.save(path)
        found = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**found, "feature_names": ["a"]}))
        self.refused(path, "1 names for 3 features")

    def test_that_are_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            fastgd.load(tmp_path / "none.json")
        with pytest.raises(IsADirectoryError):
            fastgd.load(tmp_path)


class TestOnnx:
    @pytest.mark.parametrize("kind", ["f4", "f8"])
    def test_predicts_the_same(self, plane, line, kind):
        pytest.importorskip("onnx")
        from onnx.reference import ReferenceEvaluator

        from fastgd.onnx import to_onnx

        for result, at in ((plane, X), (line, X[:, :1])):
            data = at.astype(kind)
            (found,) = ReferenceEvaluator(to_onnx(result, kind)).run(None, {"X": data})
            expected = result.predict(data if result is plane else data[:, 0])
            assert found.dtype == kind
            assert found[:, 0] == pytest.approx(expected, rel=1e-6)

    def test_refuses_other_dtypes(self, line):
        pytest.importorskip("onnx")
        from fastgd.onnx import to_onnx

        with pytest.raises(ValueError, match="float32 or float64; got int64"):
            to_onnx(line, "i8")
