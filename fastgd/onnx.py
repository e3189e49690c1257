"""Export of models to ONNX; needs the package onnx."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgd import _check
from fastgd._results.result import FitResult

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:
    raise ImportError("fastgd.onnx needs onnx: python -m pip install 'fastgd[onnx]'") from None

__all__ = ["to_onnx"]

# Of 2021, which run times of the last years know.
_OPSET, _IR_VERSION = 13, 8


def to_onnx(result: FitResult, dtype: Any = np.float32) -> onnx.ModelProto:
    """The prediction as an ONNX graph: ``y = X @ coef + intercept``.

    Parameters
    ----------
    result : FitResult
    dtype : dtype, default float32
        float32 or float64: of the input, the output and the coefficients.

    Returns
    -------
    onnx.ModelProto
        From ``X`` of shape (n_samples, n_features) to ``y`` of shape (n_samples, 1). A model of
        1-D X takes one column.

    Raises
    ------
    TypeError, ValueError
        If `result` is none, or `dtype` another one.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> from fastgd.onnx import to_onnx
    >>> from onnx.reference import ReferenceEvaluator
    >>> X = np.array([[1, 0], [1, 1], [2, 2], [0, 3]], dtype=np.float32)
    >>> model = to_onnx(fastgd.fit(X, X @ np.float32([1, 2]) + 1))
    >>> ReferenceEvaluator(model).run(None, {"X": X})[0].round(3).ravel().tolist()
    [2.0, 4.0, 7.0, 7.0]
    """
    if not isinstance(result, FitResult):
        raise TypeError(f"result must be a fastgd.FitResult; got {_check.describe(result)}")
    kind = _check.float_dtype("dtype", dtype)
    element = helper.np_dtype_to_tensor_dtype(kind)
    assert element in (TensorProto.FLOAT, TensorProto.DOUBLE)
    coef = np.asarray(result.coef, kind).reshape(-1, 1)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["X", "coef"], ["product"]),
            helper.make_node("Add", ["product", "intercept"], ["y"]),
        ],
        "fastgd",
        [helper.make_tensor_value_info("X", element, ["n_samples", len(coef)])],
        [helper.make_tensor_value_info("y", element, ["n_samples", 1])],
        [
            numpy_helper.from_array(coef, "coef"),
            numpy_helper.from_array(np.asarray([result.intercept], kind), "intercept"),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    onnx.checker.check_model(model)
    return model
