"""Finds every kernel of the package, whichever domain it belongs to."""

import pkgutil
from importlib import import_module
from pathlib import Path

import fastcore
from fastcore._core import jit


def kernel_modules() -> list[str]:
    """Names of the modules in fastcore/<domain>/kernels, of all domains."""
    names = []
    for domain in sorted(path.parent for path in Path(fastcore.__file__).parent.glob("*/kernels")):
        prefix = f"fastcore.{domain.name}.kernels."
        names += [module.name for module in pkgutil.iter_modules([str(domain / "kernels")], prefix)]
    return names


def registered() -> list:
    """All kernels that can be compiled ahead of time; importing their modules registers them."""
    for name in kernel_modules():
        import_module(name)
    return list(jit.registered_kernels())
