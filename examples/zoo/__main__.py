"""python -m examples.zoo day, or stress."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a folder, Python looks only beside it

try:
    from examples.zoo.cli import app
except ModuleNotFoundError as error:
    if error.name not in {"rich", "typer"}:
        raise
    sys.exit(f"The command line needs {error.name}. Install it with: pip install 'fastcore-kernels[cli]'")

app(prog_name="python -m examples.zoo")
