"""Kernels that are written in LLVM IR from the first line to the last, compiled as they stand.

What Numba does for a function in Python before LLVM sees it, types, overloads, a pipeline for
every helper, took two to six seconds for the kernels of a first fit. None of it is needed for
these; calling convention, unboxing of arrays and the just-in-time compiler are Numba's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

from llvmlite import ir
from numba import types
from numba.core import fastmathpass
from numba.core.compiler import CompileResult, compile_result
from numba.core.cpu_options import FastMathOptions
from numba.core.environment import Environment
from numba.core.funcdesc import FunctionDescriptor


class Kernel(NamedTuple):
    """A name, and what writes the body of a function that returns nothing.

    Called as an intrinsic's is: with Numba's context, an `llvmlite.ir.IRBuilder`, the signature and
    the values of the arguments.
    """

    name: str
    write: Callable[[Any, Any, Any, Any], object]


def assemble(
    kernel: Kernel, signature: Any, fastmath: frozenset[str], target: Any
) -> CompileResult:
    """Machine code of `kernel`, for `target`, with `fastmath` on operations that have no flags."""
    context = target.subtarget(fastmath=FastMathOptions(set(fastmath)), enable_nrt=False)
    description = FunctionDescriptor(
        native=True,
        modname=__name__,
        qualname=kernel.name,
        unique_name=kernel.name,
        doc="",
        typemap=None,
        restype=types.none,
        calltypes=None,
        args=tuple(f"argument_{i}" for i in range(len(signature.args))),
        kws=(),
        argtypes=signature.args,
        uid=uuid4().int,  # the engine finds functions by name, those of other modules, too
    )
    environment = Environment.from_fndesc(description)
    library = target.codegen().create_library(kernel.name)
    library.enable_object_caching()
    module = library.create_ir_module(kernel.name)
    context.declare_env_global(module, description.env_name)
    function = context.declare_function(module, description)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    call_helper = context.call_conv.init_call_helper(builder)
    args = context.call_conv.decode_arguments(builder, signature.args, function)
    kernel.write(context, builder, signature, args)
    context.call_conv.return_native_none(builder)
    fastmathpass.rewrite_module(module, context.fastmath)
    library.add_ir_module(module)
    context.create_cpython_wrapper(library, description, environment, call_helper, release_gil=True)
    library.finalize()
    result: CompileResult = compile_result(
        typing_context=target.typing_context,
        target_context=context,
        entry_point=context.get_executable(library, description, environment),
        library=library,
        call_helper=call_helper,
        signature=signature,
        objectmode=False,
        fndesc=description,
        environment=environment,
        reload_init=(),
        referenced_envs=(),
    )
    return result
