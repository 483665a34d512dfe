"""Compiling kernels that are only called by other kernels: typed and lowered, but neither optimised nor emitted alone.

Numba makes machine code, Python and C wrappers for every function it meets, then links and optimises each again inside
its caller. Of a nest of small kernels only the outermost is ever run: leaving the rest to it halves the compile time
(flash attention: 10 s to 5 s).
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering


class CalleeLibrary(JITCodeLibrary):
    """LLVM code that waits to be linked into a caller, which optimises the whole."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _NotExecutable:
    """Stands for the entry point: callers are linked to the library, nobody calls this."""

    def __call__(self, *args: Any) -> None:
        raise TypeError("this instance was compiled for callers in compiled code only")


@register_pass(mutates_CFG=True, analysis_only=False)
class CalleeLowering(NativeLowering):
    """Numba's lowering into a `CalleeLibrary`, without wrappers."""

    _name = "fastcore_callee_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = CalleeLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        state.flags.no_cpython_wrapper = True
        state.flags.no_cfunc_wrapper = True
        # An attribute of the instance hides the method that would emit machine code, under the compiler lock. What was
        # there comes back, since lowering may compile further functions.
        attributes = vars(state.targetctx)
        hidden = attributes.get("get_executable")
        attributes["get_executable"] = lambda library, fndesc, env: _NotExecutable()
        try:
            return bool(super().run_pass(state))
        finally:
            if hidden is None:
                del attributes["get_executable"]
            else:
                attributes["get_executable"] = hidden


class CalleeCompiler(CompilerBase):
    """Numba's pipeline with `CalleeLowering` in the place of its lowering."""

    def define_pipelines(self) -> list[Any]:
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes = [(CalleeLowering if each is NativeLowering else each, text) for each, text in manager.passes]
        if passes == manager.passes:
            raise RuntimeError("Numba's pipeline has no NativeLowering to replace")
        manager.passes = passes
        manager.finalize()
        return [manager]


class CalleeDispatcher(CPUDispatcher):
    """Instances of one kernel for its callers in compiled code."""

    def __init__(self, py_func: Any, targetoptions: dict[str, Any]) -> None:
        super().__init__(py_func, None, targetoptions, CalleeCompiler)

    def add_overload(self, cres: Any) -> None:
        """Keep the instance, without entering it into the C dispatcher, which could only call it from Python."""
        self.overloads[tuple(cres.signature.args)] = cres
