"""`python shifted.py FILE MODULE [ARGUMENT...]`: run a module on a machine with a wrong clock.

FILE says by how many seconds; it may be changed while the module runs. Only what Python code asks
of `time.time()` is wrong, and that is what dbos asks.
"""

import runpy
import sys
import time
from pathlib import Path

right = time.time


def main() -> None:
    """Set the clock, and be the module."""
    file, module = Path(sys.argv[1]), sys.argv[2]
    time.time = lambda: right() + float(file.read_text() or 0)
    sys.path[0] = str(Path.cwd())
    sys.argv[:3] = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
