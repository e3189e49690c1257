"""The estimators: scikit-learn's own checks, and what they are used with."""

import importlib
import pickle
import sys
from inspect import signature

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, ShuffleSplit
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastgd
from fastgd.sklearn import GDRegressor, GDRegressorCV, _regressor


@pytest.fixture
def data(rng):
    X = rng.standard_normal((300, 4), dtype=np.float32)
    return X, X @ np.float32([1, -2, 0.5, 0]) + 3 + rng.standard_normal(300, dtype=np.float32)


@pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")
@parametrize_with_checks([GDRegressor(), GDRegressorCV()])
def test_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


class TestGDRegressor:
    def test_has_what_fit_returns(self, data):
        model = GDRegressor().fit(*data)
        result = fastgd.fit(*data)
        assert model.coef_.tobytes() == result.coef.tobytes()
        assert model.intercept_ == result.intercept
        assert model.n_iter_ == result.n_iter
        assert model.loss_history_.tobytes() == result.loss_history.tobytes()
        assert model.converged_ is True
        assert model.n_features_in_ == 4
        assert model.predict(data[0]).dtype == np.float32

    def test_is_least_squares(self, data):
        expected = LinearRegression().fit(*data)
        model = GDRegressor().fit(*data)
        assert model.coef_ == pytest.approx(expected.coef_, rel=1e-3, abs=1e-4)
        assert model.score(*data) == pytest.approx(expected.score(*data), rel=1e-6)

    def test_uses_x_where_it_lies(self, data, monkeypatch):
        X, y = data
        seen = []
        monkeypatch.setattr(
            _regressor, "fit", lambda X, *a, **o: seen.append(X) or fastgd.fit(X, *a, **o)
        )
        for order in "CF":
            given = np.asarray(X, order=order)
            GDRegressor().fit(given, y)
            assert np.shares_memory(seen.pop(), given)

    def test_in_ten_parts_is_at_once(self, data, rng):
        X, y = data
        s = rng.uniform(0, 2, 300)
        parts = GDRegressor()
        for rows in np.array_split(np.arange(300), 10):
            parts.partial_fit(X[rows], y[rows], s[rows])
        whole = GDRegressor(strategy="moments").fit(X, y, s)
        assert parts.coef_ == pytest.approx(whole.coef_, rel=1e-12)
        assert parts.loss_history_ == pytest.approx(whole.loss_history_, rel=1e-12)
        assert parts.moments_.n_samples == 300

    def test_parts_follow_a_fit(self, data):
        X, y = data
        model = GDRegressor(strategy="moments").fit(X[:100], y[:100])
        model.partial_fit(X[100:], y[100:])
        assert model.coef_ == pytest.approx(GDRegressor().fit(X, y).coef_, rel=1e-6)
        model = GDRegressor(strategy="stream").fit(X, y)
        with pytest.raises(ValueError, match="needs the moments of its data"):
            model.partial_fit(X, y)

    @pytest.mark.parametrize("columns", [1, 3])
    def test_of_several_targets_is_one_fit(self, data, columns):
        X, y = data
        Y = np.column_stack([y, X[:, 0] - y, y**2])[:, :columns]
        model = GDRegressor().fit(X, Y)
        result = fastgd.fit(X, Y)
        assert model.coef_.shape == (columns, 4)
        assert model.coef_.tobytes() == result.coef.T.tobytes()
        assert model.intercept_.tobytes() == result.intercept.tobytes()
        assert model.loss_history_.tobytes() == result.loss_history.tobytes()
        assert np.array_equal(model.predict(X), result.predict(X))

    def test_of_several_targets_in_parts(self, data):
        X, Y = data[0], data[0][:, :2] * 2
        model = GDRegressor().partial_fit(X[:99], Y[:99]).partial_fit(X[99:], Y[99:])
        assert model.coef_ == pytest.approx(GDRegressor().fit(X, Y).coef_, rel=1e-8, abs=1e-8)

    @pytest.mark.parametrize("columns", [0, [0, 1]], ids=["one", "two"])
    @pytest.mark.parametrize("intercept", [True, False])
    def test_warm_start_begins_where_the_last_ended(self, data, columns, intercept):
        X, Y = data[0], np.column_stack([data[1]] * 2)[:, columns]
        model = GDRegressor(warm_start=True, learning_rate=0.05, fit_intercept=intercept)
        cold = model.fit(X, Y).n_iter_
        assert model.fit(X, Y).n_iter_ < cold / 2
        model.set_params(warm_start=False)
        assert model.fit(X, Y).n_iter_ == cold
        model.set_params(warm_start=True)
        model.fit(X[:, :2], Y)  # other features: from the start
        assert model.coef_.shape[-1] == 2

    def test_weights_count(self, data, rng):
        X, y = data
        s = rng.integers(0, 3, 300)
        weighted = GDRegressor().fit(X, y, sample_weight=s)
        repeated = GDRegressor().fit(X.repeat(s, axis=0), y.repeat(s))
        assert weighted.coef_ == pytest.approx(repeated.coef_, rel=1e-5)

    def test_has_the_parameters_of_fit(self):
        ours, fits = GDRegressor().get_params(), signature(fastgd.fit).parameters
        left_out = {
            "X",
            "y",
            "sample_weight",
            "missing",
            "coef_init",
            "intercept_init",
            "checkpoint",
        }
        assert ours.keys() - {"warm_start"} == fits.keys() - left_out
        for name in ours.keys() - {"warm_start"}:
            assert ours[name] == fits[name].default, name

    def test_passes_its_parameters_on(self, data, monkeypatch):
        given = {name: object() for name in GDRegressor().get_params()}
        given["warm_start"] = True
        seen = []
        monkeypatch.setattr(_regressor, "fit", lambda X, y, **o: seen.append(o) or fastgd.fit(X, y))
        GDRegressor(**given).fit(*data)
        del given["warm_start"]
        assert seen == [{**given, "sample_weight": None}]

    @pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
    def test_alpha_is_that_of_scikit_learn(self, data, l1_ratio):
        X, y = data
        y = np.column_stack([y, X[:, 1] * 2])
        model = GDRegressor(alpha=0.2, l1_ratio=l1_ratio, tol=1e-13).fit(X, y)
        if l1_ratio:
            peer = MultiOutputRegressor(ElasticNet(alpha=0.2, l1_ratio=l1_ratio, tol=1e-12))
            expected = [e.coef_ for e in peer.fit(X.astype(float), y).estimators_]
        else:
            expected = Ridge(alpha=0.2 * len(X)).fit(X.astype(float), y).coef_
        assert model.coef_ == pytest.approx(np.array(expected), abs=1e-5)

    @pytest.mark.parametrize("make", [int, np.random.default_rng, np.random.RandomState])
    def test_a_random_state_fixes_the_bits(self, data, make):
        def coef(seed):
            options = {"batch_size": 32, "max_iter": 3, "tol": 0}
            return GDRegressor(random_state=make(seed), **options).fit(*data).coef_.tobytes()

        assert coef(1) == coef(1) != coef(2)

    def test_warns_as_both_libraries_do(self, data):
        model = GDRegressor(learning_rate=1e-3, max_iter=2)
        for kind in (fastgd.ConvergenceWarning, sklearn.exceptions.ConvergenceWarning):
            with pytest.warns(kind, match="after 2 epochs"):
                model.fit(*data)
        with pytest.warns(fastgd.ConvergenceWarning) as caught:  # fit() itself: its own alone
            fastgd.fit(*data, learning_rate=1e-3, max_iter=2)
        assert caught[0].category is fastgd.ConvergenceWarning

    def test_what_was_fitted_can_be_changed(self, data):
        X, y = data
        model = GDRegressor().fit(X, np.column_stack([y, -y]))
        for array in (model.coef_, model.intercept_, model.loss_history_):
            array[0] = 3.0
        assert model.predict(X)[:, 0] == pytest.approx(3.0 * X.sum(axis=1) + 3.0, abs=1e-4)

    def test_warns_where_it_was_called(self, data):
        for options, train in (
            ({"batch_size": 32}, "fit"),
            ({"learning_rate": 1e-3}, "partial_fit"),
        ):
            with pytest.warns(fastgd.ConvergenceWarning) as caught:
                getattr(GDRegressor(max_iter=2, **options), train)(*data)
            assert caught[0].filename == __file__

    def test_parts_refuse_what_needs_the_data(self, data):
        with pytest.raises(ValueError, match="batch"):
            GDRegressor(batch_size=32).partial_fit(*data)

    def test_refuses_what_fit_refuses(self, data):
        with pytest.raises(ValueError, match="learning_rate must be one of 'auto'"):
            GDRegressor(learning_rate="fast").fit(*data)


class TestGDRegressorCV:
    def test_is_cross_validate(self, data):
        X, y = data
        found = fastgd.cross_validate(X, y, alpha=[0.0, 0.1, 1.0])
        model = GDRegressorCV(alpha=[0.0, 0.1, 1.0]).fit(X, y)
        assert model.alpha_ == found.best["alpha"]
        assert model.coef_.tobytes() == found.coef.tobytes()
        assert model.mse_.tobytes() == found.mse.tobytes()

    def test_takes_splits_of_scikit_learn(self, data, rng):
        X, y = data
        s = rng.uniform(1, 2, 300)
        for cv in (KFold(4, shuffle=True, random_state=0), list(KFold(4).split(X))):
            model = GDRegressorCV(alpha=[0.1, 1.0], cv=cv).fit(X, y, s)
            splits = cv.split(X) if isinstance(cv, KFold) else cv
            for fold, (train, test) in enumerate(splits):
                ridge = Ridge(0.1 * s[train].sum()).fit(X[train].astype(float), y[train], s[train])
                error = np.average((ridge.predict(X[test]) - y[test]) ** 2, weights=s[test])
                assert model.mse_[0, fold] == pytest.approx(error, rel=1e-6)

    def test_refuses_splits_that_are_no_folds(self, data):
        with pytest.raises(ValueError, match="each row once"):
            GDRegressorCV(cv=ShuffleSplit(3, random_state=0)).fit(*data)


class TestTogether:
    @pytest.mark.filterwarnings("ignore::fastgd.CollinearityWarning")  # dummies of all categories
    def test_in_a_grid_over_a_pipeline(self, data):
        pd = pytest.importorskip("pandas")
        X, y = data
        frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
        frame["carrier"] = np.where(X[:, 3] > 0, "AA", "UA")
        pipeline = make_pipeline(
            ColumnTransformer(
                [
                    ("scaled", StandardScaler(), ["a", "b"]),
                    ("coded", OneHotEncoder(sparse_output=False), ["carrier"]),
                ],
            ),
            GDRegressor(),
        ).set_output(transform="pandas")
        grid = {"gdregressor__alpha": [0.0, 0.1, 10.0]}
        search = GridSearchCV(pipeline, grid, cv=2).fit(frame, y)
        assert search.best_params_ == {"gdregressor__alpha": 0.0}
        assert search.best_estimator_[-1].feature_names_in_[0] == "scaled__a"
        assert search.best_score_ > 0.5
        assert search.predict(frame).shape == (300,)

    def test_around_a_transformed_target(self, data):
        X, y = data[0], np.exp(data[1] / 3)
        model = TransformedTargetRegressor(GDRegressor(), func=np.log, inverse_func=np.exp)
        assert model.fit(X, y).score(X, y) > 0.5

    def test_with_names_of_columns(self, data):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame(data[0], columns=list("abcd"))
        model = GDRegressor().fit(frame, data[1])
        assert model.feature_names_in_.tolist() == list("abcd")
        with pytest.raises(ValueError, match="feature names"):
            model.predict(frame[list("dcba")])

    def test_weights_are_routed(self, data):
        with sklearn.config_context(enable_metadata_routing=True):
            model = GDRegressor().set_fit_request(sample_weight=True)
            pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
            pipeline.fit(*data, sample_weight=np.r_[np.zeros(100), np.ones(200)])
            plain = make_pipeline(StandardScaler(), GDRegressor()).fit(*data)
            assert not np.allclose(pipeline[-1].coef_, plain[-1].coef_, rtol=1e-3)
            groups = np.arange(300) % 3
            GridSearchCV(
                GDRegressor()
                .set_fit_request(sample_weight=True)
                .set_score_request(sample_weight=True),
                {"tol": [1e-3]},
                cv=GroupKFold(3),
            ).fit(*data, groups=groups, sample_weight=np.ones(300))

    @pytest.mark.parametrize("make", [GDRegressor, GDRegressorCV])
    def test_pickle_and_clone(self, data, make):
        model = make().fit(*data)
        again = pickle.loads(pickle.dumps(model))
        assert np.array_equal(again.predict(data[0]), model.predict(data[0]))
        assert not hasattr(clone(model), "coef_")


class Recorder:
    """A callback of scikit-learn's protocol: keeps what it is told."""

    def __init__(self, stop_after=None):
        self.told, self.fitted, self.stop_after = [], [], stop_after

    def setup(self, estimator, context):
        self.told.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        self.told.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.told.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.told.append(("end", context.task_name, context.task_id))
        self.fitted.append(fitted_estimator)
        self.context, self.seen = context, (X, y, metadata)
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


class TestCallbacks:
    @pytest.fixture(autouse=True)
    def interface(self):
        return pytest.importorskip("sklearn.callback")

    @pytest.mark.parametrize("options", [{}, {"method": "gd"}, {"batch_size": 32, "max_iter": 5}])
    def test_see_each_epoch(self, data, options):
        recorder = Recorder()
        model = GDRegressor(random_state=0, **options)
        if "batch_size" in options:
            model.set_params(tol=0)
        model.set_callbacks(recorder).fit(*data)
        epochs = [(hook, "epoch", i) for i in range(model.n_iter_) for hook in ("begin", "end")]
        around = [("setup", "fit"), ("begin", "fit", 0)], [("end", "fit", 0), ("teardown", "fit")]
        assert recorder.told == [*around[0], *epochs, *around[1]]
        assert recorder.context.max_subtasks == model.max_iter

    @pytest.mark.parametrize("columns", [0, [0, 1]], ids=["one", "two"])
    def test_may_stop_a_fit_and_see_it_then(self, data, columns):
        X, Y = data[0], np.column_stack([data[1]] * 2)[:, columns]
        recorder, states = Recorder(stop_after=3), []
        model = GDRegressor(method="gd", callback=states.append).set_callbacks(recorder)
        model.fit(X, Y, np.ones(300))
        assert model.n_iter_ == 3 == len(states)
        first, _, last, whole = (fitted.predict(X) for fitted in recorder.fitted)
        assert np.array_equal(last, model.predict(X))
        assert np.array_equal(whole, last)
        assert not np.array_equal(first, last)
        assert recorder.seen[0] is X
        assert np.array_equal(recorder.seen[2]["sample_weight"], np.ones(300))

    def test_leave_the_callback_of_the_parameters_its_say(self, data):
        recorder = Recorder()
        model = GDRegressor(method="gd", callback=lambda state: state.epoch == 2)
        assert model.set_callbacks(recorder).fit(*data).n_iter_ == 2
        assert ("end", "epoch", 1) in recorder.told

    def test_cost_nothing_where_none_are_set(self, data, monkeypatch):
        seen = []
        monkeypatch.setattr(
            _regressor, "fit", lambda *a, **o: seen.append(o["callback"]) or fastgd.fit(*a, **o)
        )
        GDRegressor().fit(*data)
        GDRegressor().set_callbacks(Recorder()).set_callbacks().fit(*data)
        GDRegressor().set_callbacks(Recorder()).fit(*data)
        assert seen[:2] == [None, None]
        assert seen[2] is not None

    def test_are_taken_down_where_a_fit_fails(self, data):
        recorder = Recorder()
        model = GDRegressor(learning_rate=100.0).set_callbacks(recorder)
        with pytest.raises(fastgd.DivergenceError):
            model.fit(*data)
        assert recorder.told[-1] == ("teardown", "fit")

    def test_of_scikit_learn_score_each_epoch(self, data, interface):
        monitor = interface.ScoringMonitor(scoring="r2")
        model = GDRegressor(method="gd").set_callbacks(monitor).fit(*data)
        rows = [row["r2"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
        assert len(rows) == model.n_iter_
        assert rows[-1] == pytest.approx(model.score(*data), rel=1e-12)

    def test_of_scikit_learn_show_progress(self, data, interface, capsys):
        pytest.importorskip("rich")
        model = GDRegressor(method="gd")
        model.set_callbacks(interface.ProgressBar()).fit(*data)
        assert "GDRegressor - fit" in capsys.readouterr().out
        search = GridSearchCV(make_pipeline(StandardScaler(), GDRegressor()), {}, cv=2)
        search.set_callbacks(interface.ProgressBar(None)).fit(*data)
        assert " | GDRegressor - fit" in capsys.readouterr().out


def test_runs_where_scikit_learn_has_no_callbacks(data, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fastgd.sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(fastgd, "sklearn", fastgd.sklearn)
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    older = importlib.import_module("fastgd.sklearn").GDRegressor
    assert older is not GDRegressor
    assert not hasattr(older, "set_callbacks")
    assert older().fit(*data).coef_.tobytes() == GDRegressor().fit(*data).coef_.tobytes()


def test_cross_validation_of_given_folds(data):
    X, y = data
    folds = [fastgd.Moments.of(X[k::3], y[k::3]) for k in range(3)]
    order = np.concatenate([np.arange(300)[k::3] for k in range(3)])
    ours = fastgd.cross_validate(folds, alpha=[0.0, 0.5])
    plain = fastgd.cross_validate(X[order], y[order], cv=3, alpha=[0.0, 0.5])
    assert ours.mse == pytest.approx(plain.mse, rel=1e-9)
    for bad, words in (((folds, y), "y must not be given"), ((folds[:1],), "at least 2 folds")):
        with pytest.raises((TypeError, ValueError), match=words):
            fastgd.cross_validate(*bad)
