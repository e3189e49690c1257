"""Wrong calls, written as they would be: what each raises, and the words that must be in it.

A row is ``(call, exception, words)``, `words` a pattern that the message must match; the names in
the calls are those of `names`. A new function, option or file is a few lines at the end of a
table here. Data that are refused by every function alike are tabled in test_problem.py, damaged
fields of files in test_moments.py and test_model_files.py.
"""

from __future__ import annotations

import numpy as np

import fastgd
from fastgd import Moments

METHODS = "'auto', 'gd', 'momentum', 'nesterov', 'adam', 'cg', 'sgd'"
OVERFLOW = "so large that sums of their squares are not.*range of float64; rescale the data"


def names(folder):
    """What the calls are made of; `folder` holds one file of each kind."""
    x, y = np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.5])
    X, Y = np.array([[1.0, 2.0], [3.0, 5.0], [8.0, 13.0], [1.0, 0.0]]), np.array([1.0, 2, 3, 4])
    line, plane, moments = fastgd.fit(x, y), fastgd.fit(X, Y), Moments.of(X, Y)
    line.save(folder / "line.json")
    moments.save(folder / "m.npz")
    (folder / "junk").write_bytes(b"\0junk")
    return {
        **{name: getattr(fastgd, name) for name in fastgd.__all__},
        **{"fastgd": fastgd, "np": np, "nan": np.nan, "inf": np.inf},
        **{"x": x, "y": y, "X": X, "Y": Y, "YY": np.column_stack([Y, Y**2])},
        **{"line": line, "plane": plane, "two": fastgd.fit(X, np.column_stack([Y, Y**2]))},
        **{"m": moments, "m1": Moments.of(x, y), "folder": folder},
    }


FIT = [
    ("fit()", TypeError, "missing 1 required positional argument: 'X'"),
    ("fit(X)", TypeError, r"^y must be given, unless X yields batches .*; got None"),
    ("fit(X, Y, Y)", TypeError, "positional"),
    ("fit(X, Y, lr=0.1)", TypeError, "unexpected keyword argument 'lr'"),
    ("fit(X, m)", TypeError, r"^y must hold real numbers; got dtype object, from Moments\("),
    ("fit(iter([1, 2]), [1, 2])", TypeError, "^X must hold real.*from <list_iterator"),
    ("fit({1.0, 2.0}, [1, 2])", TypeError, "^X must hold real numbers.*(set)"),
    ("fit(open, [1.0])", TypeError, "^X must hold real numbers.*open"),
    ("fit('data.npy', [1.0])", TypeError, "^X must hold real numbers.*from 'data.npy'"),
    ("fit(X, 'price')", TypeError, "^y must hold real numbers.*from 'price'"),
    ("fit([1, 10**400], [1, 2])", TypeError, "^X must hold real numbers; got dtype object, from"),
    ("fit(np.zeros(3, 'i4,f8'), y)", TypeError, r"^X must hold real numbers; got dtype \[\('f0'"),
    ("fit(np.zeros(3, 'V8'), y)", TypeError, r"^X must hold real numbers; got dtype \|V8"),
    ("fit(X, Y[None])", ValueError, "^y has 1 rows where X has 4 samples"),
    ("fit(X, Y, sample_weight='balanced')", TypeError, "^sample_weight must hold.*'balanced'"),
    (
        "fit(X.astype('f4'), Y, sample_weight=[1e300, 1, 1, 1])",
        ValueError,
        "^sample_weight must be finite in float32",
    ),
    ("fit(X, Y, missing='zero')", ValueError, "^missing must be one of 'error', 'drop'; got 'zero"),
    ("fit(X, Y, missing=None)", ValueError, "^missing must be one of 'error', 'drop'; got None"),
    ("fit(x * nan, y, missing='drop')", ValueError, "leaves no rows: each one has a missing value"),
    ("fit(X, Y, method='newton')", ValueError, f"^method must be one of {METHODS}; got 'newton'"),
    ("fit(X, Y, method=None)", ValueError, f"^method must be one of {METHODS}; got None"),
    ("fit(X, Y, learning_rate=b'auto')", TypeError, "^learning_rate must be a real.* got b'auto'"),
    ("fit(X, Y, learning_rate=10**400)", ValueError, r"^learning_rate must be finite.*0\.\.\.$"),
    ("fit(X, Y, learning_rate=10**9999)", ValueError, r"^learning_rate must be finite.*\.\.\.$"),
    (
        "fit(X, Y, learning_rate=lambda epoch: 'fast')",
        ValueError,
        r"^learning_rate must return a finite number greater than 0; for epoch 1 .* 'fast' \(str\)",
    ),
    ("fit(X, Y, learning_rate=lambda epoch: None)", ValueError, "must return.*epoch 1 .*None"),
    ("fit(X, Y, learning_rate=lambda epoch: np.ones(2))", ValueError, r"must return.*shape \(2,\)"),
    ("fit(X, Y, learning_rate=lambda epoch: 2 - epoch)", ValueError, "epoch 2 it returned 0 "),
    ("fit(X, Y, eta0=0)", ValueError, "^eta0 must be finite and greater than 0, got 0"),
    ("fit(X, Y, eta0='1')", TypeError, "^eta0 must be a real number greater than 0, got '1'"),
    ("fit(X, Y, power_t=-1)", ValueError, "^power_t must be finite and 0 or more, got -1"),
    ("fit(X, Y, power_t=None)", TypeError, "^power_t must be a real number 0 or more, got None"),
    ("fit(X, Y, momentum=1.0)", ValueError, r"^momentum must be at least 0.* than 1, got 1\.0"),
    (
        "fit(X, Y, momentum=0.5)",
        ValueError,
        "^momentum cannot be set: the method would be 'cg', which has none; give method as one of "
        "'momentum', 'nesterov'$",
    ),
    ("fit(X, Y, method='adam', momentum=0)", ValueError, "^momentum cannot be set: .* 'adam'"),
    ("fit(X, Y, momentum='much')", TypeError, "^momentum must be a real number.*got 'much'"),
    ("fit(X, Y, alpha=10**400)", ValueError, "^alpha must be finite and 0 or more, got 1000"),
    ("fit(X, Y, alpha=[1.0])", TypeError, r"^alpha must be a real number.* got \[1\.0\] \(list\)"),
    ("fit(X, Y, alpha=None)", TypeError, "^alpha must be a real number 0 or more, got None"),
    ("fit(X, Y, alpha=inf)", ValueError, "^alpha must be finite and 0 or more, got inf"),
    ("fit(X, Y, alpha=1, l1_ratio=1.5)", ValueError, r"^l1_ratio must be 0 to 1, got 1\.5"),
    ("fit(X, Y, alpha=1, l1_ratio=-0.5)", ValueError, "^l1_ratio must be finite and 0 or more"),
    ("fit(X, Y, l1_ratio='half')", TypeError, "^l1_ratio must be a real number.*got 'half'"),
    (
        "fit(X, Y, method='cg', alpha=1, l1_ratio=0.5)",
        ValueError,
        "^method='cg' cannot take a penalty on sizes; use l1_ratio=0, or one of 'gd'",
    ),
    (
        "fit(X, Y, method='cg', learning_rate=0.1)",
        ValueError,
        '^method="cg" finds its own steps: learning_rate must be "auto"',
    ),
    ("fit(X, Y, max_iter=np.array(5))", TypeError, "^max_iter must be an integer.*got an array"),
    ("fit(X, Y, n_iter_no_change=0)", ValueError, "^n_iter_no_change must be .* got 0"),
    ("fit(X, Y, n_iter_no_change=1.0)", TypeError, r"^n_iter_no_change must be .* got 1\.0"),
    ("fit(X, Y, validation_fraction=1.0)", ValueError, "^validation_fraction must be at least 0"),
    ("fit(X, Y, validation_fraction=-0.1)", ValueError, "^validation_fraction.*0 or more, got -0"),
    ("fit(X, Y, validation_fraction='0.1')", TypeError, "^validation_fraction must.*got '0.1'"),
    ("fit(X[:1], Y[:1], validation_fraction=0.5)", ValueError, "^validation_fraction=0.5 leaves"),
    (
        "fit(X, Y, validation_fraction=0.5, strategy='moments')",
        ValueError,
        '^validation_fraction needs strategy="stream" or "auto"',
    ),
    ("fit(m, validation_fraction=0.5)", ValueError, "^validation_fraction needs arrays; X is"),
    ("fit(X, Y, batch_size=0)", ValueError, "^batch_size must be an integer of at least 1, got 0"),
    ("fit(X, Y, batch_size='all')", TypeError, "^batch_size must be an integer.*got 'all'"),
    ("fit(m, batch_size=2)", ValueError, r"^batch_size needs arrays; X is fastgd\.Moments"),
    ("fit(X, Y, method='cg', batch_size=2)", ValueError, "^method='cg' cannot take batch_size"),
    ("fit(X, Y, batch_size=2, strategy='moments')", ValueError, '^strategy="moments" has no batch'),
    (
        "fit(X, Y, batch_size=2, l1_ratio=1, alpha=1, learning_rate=0.1, reduction='sum')",
        ValueError,
        '^reduction="sum" cannot go with both batch_size and l1_ratio',
    ),
    ("fit(X, Y, shuffle='yes')", TypeError, "^shuffle must be True or False, got 'yes'"),
    ("fit(X, Y, average=1)", TypeError, "^average must be True or False, got 1"),
    ("fit(X, Y, average=True)", ValueError, "^average=True needs batch_size"),
    ("fit(X, Y, random_state=-1)", ValueError, "^random_state must be .* at least 0 or .*, got -1"),
    (
        "fit(X, Y, random_state='seed')",
        TypeError,
        r"^random_state must be an integer .* 0 or a numpy\.random\.Generator, got 'seed' \(str\)",
    ),
    ("fit(X, Y, callback='print')", TypeError, "^callback must be callable, got str"),
    ("fit(X, Y, verbose=True)", TypeError, "^verbose must be an integer of at least 0, got True"),
    ("fit(X, Y, progress='yes')", TypeError, "^progress must be True or False, got 'yes'"),
    ("fit(X, Y, n_threads='all')", TypeError, "^n_threads must be an integer.*got 'all'"),
    ("fit(X, Y, backend=object)", ValueError, "^backend must be one of .* got <class 'object'>"),
    ("fit(X, Y, coef_init={'a': 1})", TypeError, r"^coef_init must be .* \(2,\) .* got {'a': 1}"),
    ("fit(X, Y, coef_init=[10**400, 1])", TypeError, "^coef_init must be .* of real numbers; got"),
    ("fit(X, Y, coef_init=[1e308, 1e308])", OverflowError, OVERFLOW),
    ("fit(X, Y, intercept_init=True)", TypeError, "^intercept_init must be a scalar .* got True"),
    (
        "fit(X, YY, intercept_init=1.0)",
        ValueError,
        r"^intercept_init must be .* \(2,\); got .*\(\)",
    ),
    ("fit(X * 1e200, Y)", OverflowError, OVERFLOW),
    ("fit(X, Y * 1e200, learning_rate=0.1)", OverflowError, OVERFLOW),
    (
        "fit(X, Y, learning_rate=1e9)",
        fastgd.DivergenceError,
        "diverged.*learning_rate=.* would have",
    ),
]

GRADIENT = [
    ("mse_and_gradient(X, Y)", TypeError, "missing 1 required positional argument: 'coef'"),
    ("mse_and_gradient(m, Y, [1, 2])", TypeError, "^X must hold real numbers.*from Moments"),
    ("mse_and_gradient(X, YY, [1, 2])", ValueError, r"^y must be 1-D.* got shape \(4, 2\)"),
    ("mse_and_gradient(X, Y, 'ab')", TypeError, r"^coef must be .* \(2,\) of real .* got 'ab'"),
    ("mse_and_gradient(X, Y, [1, 2], None)", TypeError, "^intercept must be a scalar.*got None"),
    ("mse_and_gradient(X, Y, [1, 2], 10**400)", TypeError, "^intercept must be a scalar.*got 1000"),
    ("mse_and_gradient(X, Y, [1, 2], 1e200)", OverflowError, "of these coefficients exceed"),
    ("mse_and_gradient(X, Y, [1, 2], missing='drop')", TypeError, "unexpected keyword.*'missing'"),
    ("mse_and_gradient(X, Y, [1, 2], prediction=Y)", ValueError, "must not share memory with y"),
]

MOMENTS = [
    ("Moments(4, 4.0)", TypeError, "missing 2 required positional arguments: 'mean' and 'scatter'"),
    ("Moments.of(X)", TypeError, r"^y must be given, unless X yields batches .*; got None"),
    ("Moments.of(m, Y)", TypeError, "^X must hold real numbers.*from Moments"),
    ("Moments.of(X, Y, missing=1)", ValueError, "^missing must be one of 'error', 'drop'; got 1"),
    ("Moments.of(X * 1e200, Y)", OverflowError, OVERFLOW),
    ("m + 1", TypeError, "^moments combine with moments, not with int"),
    ("m - 'm'", TypeError, "^moments combine with moments, not with str"),
    ("1 + m", TypeError, r"unsupported operand type\(s\) for \+: 'int' and 'Moments'"),
    ("m + m1", ValueError, r"^moments must be of the same columns: 2 features .* against 1"),
    ("m - m", ValueError, "^the difference of moments is no data: 4 samples of weight 4 from 4"),
    ("m + m - Moments.of(9 * X, Y)", ValueError, "no data: a variance would be negative"),
    ("m.scaled('2')", TypeError, "^factor must be a real number greater than 0, got '2'"),
    ("m.scaled(10**400)", ValueError, "^factor must be finite and greater than 0, got 1000"),
    ("m.scaled(1e300).scaled(1e300)", ValueError, r"^factor=1e\+300 takes the sums beyond"),
    ("m.scaled(1e-300).scaled(1e-300)", ValueError, "^factor=1e-300 takes the sums beyond"),
    ("m.penalised(-1)", ValueError, "^alpha must be finite and 0 or more, got -1"),
    ("m.penalised('a')", TypeError, "^alpha must be a real number 0 or more, got 'a'"),
    ("m.update(X)", TypeError, "missing 1 required positional argument: 'y'"),
    ("m.update(x, y)", ValueError, "^moments must be of the same columns"),
    ("m.update(X, Y, [1, 2, 3])", ValueError, "^sample_weight has 3 entries where X has 4"),
    ("m.save(None)", TypeError, r"^path must be a str or path-like; got None \(NoneType\)"),
    ("m.save(3)", TypeError, r"^path must be a str or path-like; got 3 \(int\)"),
    ("m.save(folder / 'none' / 'm')", FileNotFoundError, "No such file or directory: '.*none/m'$"),
    ("Moments.load(None)", TypeError, "^path must be a str or path-like; got None"),
    ("Moments.load(b'm.npz')", TypeError, "^path must be a str or path-like; got b'm.npz'"),
    ("Moments.load(folder / 'none')", FileNotFoundError, "none"),
    ("Moments.load(folder / 'junk')", ValueError, "junk cannot be read as a .*: it is no .npz arc"),
    ("Moments.load(folder / 'line.json')", ValueError, r"line\.json cannot be .* no .npz archive"),
]

RESULT = [
    ("line.predict('ten')", TypeError, "^X must hold real numbers.*from 'ten'"),
    ("line.predict(None)", TypeError, "^X must hold real numbers.*from None"),
    ("line.predict(1 + 2j)", TypeError, "^X must hold real numbers.*complex128"),
    (
        "plane.predict(1.0)",
        ValueError,
        r"^X must be of shape \(n_samples, 2\), as in fit; got \(\)",
    ),
    ("plane.predict(X[0])", ValueError, r"^X must be of shape \(n_samples, 2\).* got \(2,\)"),
    ("plane.predict(m)", TypeError, "^X must hold real numbers.*from Moments"),
    ("plane.summary(X)", TypeError, r"^moments must be fastgd\.Moments; got ndarray"),
    ("plane.summary(m1)", ValueError, "^moments must be of the 2 features of the fit; got 1-D X"),
    ("two.summary()", ValueError, "^moments must be of one target, from 1-D y; got 2"),
    ("line.plot(ax=3)", TypeError, r"^ax must be matplotlib axes; got 3 \(int\)"),
    ("line.save(None)", TypeError, "^path must be a str or path-like; got None"),
    ("line.save(folder / 'none' / 'm')", FileNotFoundError, "No such file.*: '.*none/m'$"),
    ("line.save(folder)", OSError, "directory"),
    ("load(None)", TypeError, "^path must be a str or path-like; got None"),
    ("load(1.5)", TypeError, r"^path must be a str or path-like; got 1\.5"),
    ("load(folder / 'none')", FileNotFoundError, "none"),
    ("load(folder / 'junk')", ValueError, r"junk cannot be read as a file of fastgd\.FitResult"),
    ("load(folder / 'm.npz')", ValueError, r"m\.npz cannot be read as a file of fastgd\.FitRes"),
    ("fastgd.nothing", AttributeError, "module 'fastgd' has no attribute 'nothing'"),
]

VALIDATION = [
    ("cross_validate(X)", TypeError, r"^y must be given, unless X is a list of fastgd\.Moments"),
    ("cross_validate([])", TypeError, r"^y must be given, unless X is a list of fastgd\.Moments"),
    ("cross_validate([m])", ValueError, "^X must be moments of at least 2 folds; got 1"),
    ("cross_validate([m, m1])", ValueError, "^moments must be of the same columns: 2 features"),
    ("cross_validate([m, m], Y)", TypeError, "^y must not be given where X is moments"),
    ("cross_validate([Moments.of(X, YY)] * 2)", ValueError, "^X must be .* one target.*; got 2"),
    ("cross_validate(X, Y, cv='5')", TypeError, r"^cv must be a number of folds.*got '5' \(str\)"),
    ("cross_validate(X, Y, cv=2.0)", TypeError, r"^cv must be an integer of at least 2, got 2\.0"),
    ("cross_validate(X, Y, cv=None)", TypeError, "^cv must be an integer of at least 2, got None"),
    ("cross_validate(X, Y, cv=9)", ValueError, "^cv=9 folds need as many samples; X has 4"),
    (
        "cross_validate(X, Y, cv=2, alpha='auto')",
        TypeError,
        "^alpha must be a number or a seq.*'aut",
    ),
    ("cross_validate(X, Y, cv=2, alpha={1.0})", TypeError, r"^alpha must be a number or.*\(set\)"),
    ("cross_validate(X, Y, cv=2, alpha=None)", TypeError, "^alpha must be a number or.* got None"),
    (
        "cross_validate(X, Y, cv=2, alpha=[[1], [2, 3]])",
        TypeError,
        "^alpha must be a number or a se",
    ),
    ("cross_validate(X, Y, cv=2, alpha=[0, None])", TypeError, "^alpha must be a real.* got None"),
    (
        "cross_validate(X, Y, cv=2, learning_rate='auto', max_iter=5)",
        TypeError,
        "^learning_rate must be a number or a sequence of numbers, got 'auto'",
    ),
    ("cross_validate(X, Y, cv=2, missing='some')", ValueError, "^missing must be .* got 'some'"),
    ("cross_validate(X, Y, cv=2, precision='single')", TypeError, "unexpected.*'precision'"),
    ("plan(X)", TypeError, r"^y must be given, unless X yields batches .*; got None"),
    ("plan([m, m])", TypeError, "^y must be given, unless"),
    ("plan(X, YY)", ValueError, "^y must be 1-D, one target; got 2 targets"),
    (
        "plan(X, YY[:, :1])",
        ValueError,
        r"^y must be 1-D, one target; got y of shape \(n_samples, 1\): give y\.ravel\(\)",
    ),
    ("cross_validate(X, YY[:, :1])", ValueError, r"^y must be 1-D .*, 1\): give y\.ravel\(\)"),
    ("plan(X, Y, tol='small')", TypeError, "^tol must be a real number 0 or more, got 'small'"),
    ("plan(X, Y, learning_rate=1)", TypeError, "unexpected keyword argument 'learning_rate'"),
    ("warmup(10**30)", ValueError, "^n_features must be at most 1,000,000, got 1000"),
    ("warmup(dtype=None)", TypeError, "^dtype must be float32 or float64; got None"),
    ("warmup(dtype=object())", TypeError, "^dtype must be float32 or float64; got <object"),
    ("warmup(dtype=[('a', 'f4')])", ValueError, r"^dtype must be float32 or float64; got \[\('a'"),
    ("warmup(3, 'f4')", TypeError, "positional"),
]

# With GDRegressor and GDRegressorCV of fastgd.sklearn. What scikit-learn checks, it words.
ESTIMATORS = [
    ("GDRegressor(0.1)", TypeError, "positional"),
    ("GDRegressor(lr=1)", TypeError, "unexpected keyword argument 'lr'"),
    ("GDRegressor().set_params(speed=3)", ValueError, "Invalid parameter 'speed'"),
    ("GDRegressor(alpha=-1).fit(X, Y)", ValueError, "^alpha must be finite and 0 or more, got -1"),
    ("GDRegressor(method='x').fit(X, Y)", ValueError, f"^method must be one of {METHODS}; got 'x'"),
    (
        "GDRegressor(warm_start='yes').fit(X, Y)",
        TypeError,
        "^warm_start must be True or False, got",
    ),
    ("GDRegressor(random_state='x').fit(X, Y)", TypeError, "^random_state must be .* got 'x'"),
    ("GDRegressor().fit(x, y)", ValueError, "Expected 2D array, got 1D array"),
    ("GDRegressor().fit(X, Y[:2])", ValueError, r"inconsistent numbers of samples: \[4, 2\]"),
    ("GDRegressor().fit(X * nan, Y)", ValueError, "Input X contains NaN"),
    ("GDRegressor().fit(X, list('abcd'))", (TypeError, ValueError), "y must hold real|convert str"),
    ("GDRegressor().fit(X, Y, [1, 2])", ValueError, r"sample_weight.shape == \(2,\), expected"),
    ("GDRegressor().fit(X, Y, [-1, 2, 3, 4])", ValueError, "^sample_weight must not be negative"),
    ("GDRegressor().predict(X)", ValueError, "GDRegressor instance is not fitted yet"),
    ("GDRegressor().fit(X, Y).predict(X[:, :1])", ValueError, "X has 1 features.*expecting 2"),
    ("GDRegressor(batch_size=2).partial_fit(X, Y)", ValueError, "has no batches"),
    ("GDRegressorCV(alpha=[]).fit(X, Y)", ValueError, "^alpha must hold at least one number"),
    ("GDRegressorCV(alpha=None).fit(X, Y)", TypeError, "^alpha must be a number or a sequence"),
    ("GDRegressorCV(cv=1).fit(X, Y)", ValueError, "^cv must be an integer of at least 2, got 1"),
    ("GDRegressorCV(cv='x').fit(X, Y)", ValueError, "cv.* as an integer.* [Gg]ot x"),
    ("GDRegressorCV(cv=2).fit(X, YY)", ValueError, "y should be a 1d array"),
    ("GDRegressorCV().fit(X[:1], Y[:1])", ValueError, "minimum of 2 is required"),
    ("GDRegressorCV().predict(X)", ValueError, "GDRegressorCV instance is not fitted yet"),
]

# With to_onnx of fastgd.onnx.
ONNX = [
    ("to_onnx(X)", TypeError, "^result must be a fastgd.FitResult; got an array"),
    ("to_onnx(line, 'words')", TypeError, "^dtype must be float32 or float64; got 'words'"),
]

# The arguments of ``fastgd`` and what stderr must hold, in the one line that it is.
COMMANDS = [
    ("", "the following arguments are required: COMMAND; see fastgd --help"),
    ("--speed", "the following arguments are required: COMMAND"),
    ("train", "invalid choice: 'train'"),
    ("fit", "the following arguments are required: .*; see fastgd fit --help"),
    ("fit none.npz", r"cannot read none\.npz: No such file or directory"),
    ("fit data.xlsx", r"data\.xlsx: files of data end in \.parquet"),
    ("fit junk.npz", r"junk\.npz: "),
    ("fit data.npz y.npy", "only an .npy file of X comes with a second one"),
    ("fit data.npz --target price", "arrays have no names of columns to choose by"),
    ("fit data.npz --tol small", "argument --tol: invalid .*'small'"),
    ("fit data.npz --tol -1", "tol must be finite and 0 or more, got -1"),
    ("fit data.npz --alpha -1", "alpha must be finite and 0 or more, got -1"),
    ("fit data.npz -o none/model.json", "cannot write none/model.json: No such file or directory"),
    ("fit X.npz", "(y|target)"),
    ("plan none.npy", r"cannot read none\.npy"),
    ("cv data.npz --cv 1", "--cv 1: there are at least 2 folds"),
    ("cv data.npz --cv x", "'x' is not a whole number of at least 1"),
    ("cv data.npz --alpha 1,a", "'1,a' is not a list of numbers"),
    ("cv data.npz --alpha -1", "(alpha must be finite|expected one argument)"),
    ("predict", "the following arguments are required"),
    ("predict none.json data.npz", r"(cannot read|No such file).*none\.json"),
    ("predict data.npz data.npz", r"data\.npz is not a model that fastgd fit wrote"),
    ("predict model.json none.npy", r"cannot read none\.npy"),
    ("bench --max-n 1", "--max-n 1 leaves no size to measure"),
    ("bench --threads 0", "'0' is not a whole number of at least 1"),
    ("bench --json none/x.json --max-n 10", "cannot write none/x.json"),
    ("demo --rows 10", "--rows 10: the large array has at least 1000 rows"),
    ("demo --rows 1e15", "needs .* GiB of memory"),
    ("demo --rows 1.5", r"'1\.5' is not a whole number of at least 1"),
]
