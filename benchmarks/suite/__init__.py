"""The asv suite. asv imports every file of this folder, and imports the folder as a package of its own, `suite`.

The code under test is the `fastcore` that Python finds, or the one in the folder FASTCORE_TREE (`asv_compare`). The
cases and the examples they run are always those beside this file, so that two commits are measured by the same code.
"""

import importlib.util
import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]

for _name in ("benchmarks", "examples"):
    if _name not in sys.modules:
        _folder = _ROOT / _name
        _spec = importlib.util.spec_from_file_location(
            _name, _folder / "__init__.py", submodule_search_locations=[str(_folder)]
        )
        assert _spec is not None
        assert _spec.loader is not None
        sys.modules[_name] = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(sys.modules[_name])

# asv drops PYTHONPATH, for itself and for what it starts: without this every commit would be measured as the one that
# is installed.
if _tree := os.environ.get("FASTCORE_TREE"):
    sys.path.insert(0, _tree)
    os.environ["PYTHONPATH"] = _tree  # of the processes that cold_start starts

# Last, for a checkout that is not installed: an installed or otherwise named fastcore comes first.
sys.path.append(str(_ROOT))
