"""Kernels from the cache start at once: numba loads what compiling takes only when it compiles.

Before it looks into its cache, numba registers everything that a kernel could ever call, and looks
for SciPy's BLAS. Both are for compiling, which does it once more by itself, and together they were
0.4 s of every start, as much as all other imports. With the machine code of each kernel it reads
the code that it was made from, in case another kernel is compiled with it, and asks LLVM for the
names in there one by one: six tenths of what loading takes, 0.13 s for the kernels of `dsm`. And it
imports the modules of all functions that were compiled into it, its own for arrays among them, for
names that only slower code than ours looks up: 0.06 s.
"""

from __future__ import annotations

import sys
from functools import wraps
from typing import Any

from llvmlite import binding  # type: ignore[import-untyped]  # it comes with numba, without stubs
from numba.core import environment
from numba.core.caching import Cache
from numba.core.codegen import CPUCodeLibrary, JITCodeLibrary
from numba.core.cpu import CPUContext
from numba.core.runtime import rtsys


def load_at_once() -> None:
    """Change how numba starts, in this Python.

    The packages with most kernels call it, `stereo`, `outlines` and `roofs`; once more is as good.
    """
    Cache.load_overload = _load_overload
    CPUCodeLibrary._unserialize = classmethod(_unserialize)
    CPUCodeLibrary._get_module_for_linking = _for_linking
    JITCodeLibrary.get_pointer_to_function = _pointer
    CPUContext.load_additional_registries = _load_registries
    environment._rebuild_env = _environment


def _load_overload(self: Any, signature: Any, target: Any) -> Any:
    """Load machine code as numba does, but for `target.refresh()`, which registers everything."""
    rtsys.initialize(target)  # what allocates memory, a part of refresh that kernels call
    with self._guard_against_spurious_io_errors():
        return self._load_overload(signature, target)


def _unserialize(cls: Any, codegen: Any, state: tuple[str, str, tuple[bytes, bytes]]) -> Any:
    """Return a library of machine code, what it was made from unread."""
    name, _, (machine_code, source) = state
    library = codegen.create_library(name)
    library.enable_object_caching()
    library._set_compiled_object(machine_code)
    library._unread = source
    library._finalize_final_module()
    return library


@wraps(environment._rebuild_env)  # what is cached names it
def _environment(module: str, constants: list[Any], name: str) -> Any:
    """Return what goes with a function in machine code, the module it is of not imported for it."""
    known = environment.lookup_environment(name)
    if known is not None:
        return known
    imported = sys.modules.get(module)
    made = environment.Environment(vars(imported) if imported else {"__name__": module})
    made.consts[:] = constants
    made.env_name = name
    environment.Environment._memo[name] = made
    return made


_linked = CPUCodeLibrary._get_module_for_linking


def _for_linking(self: Any) -> Any:
    """Return what another kernel is compiled with, read when it is."""
    if self._shared_module is None and hasattr(self, "_unread"):
        self._shared_module = binding.parse_bitcode(self._unread)
    return _linked(self)


def _pointer(self: Any, name: str) -> int:
    """Return the address of a function, 0 if there is none: LLVM knows, so no names are listed."""
    self._ensure_finalized()
    return int(self._codegen._engine.get_function_address(name))


_registries = CPUContext.load_additional_registries


def _load_registries(self: Any) -> None:
    """Load all that a kernel could call, when one is compiled; no BLAS: none multiplies matrices.

    The array functions alone take 0.04 s to import.
    """
    from numba.np import linalg

    def no_blas() -> None:
        raise ImportError

    ensure_blas = linalg.ensure_blas
    linalg.ensure_blas = no_blas
    try:
        from numba.np import arraymath  # noqa: F401 – looks
    finally:
        linalg.ensure_blas = ensure_blas
    _registries(self)
