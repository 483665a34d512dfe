"""python -m examples.zoo day, or stress."""

import sys

try:
    from examples.zoo.cli import app
except ModuleNotFoundError as error:
    if error.name not in {"rich", "typer"}:
        raise
    sys.exit(f"The command line needs {error.name}. Install it with: pip install 'fastcore-kernels[cli]'")

app(prog_name="python -m examples.zoo")
