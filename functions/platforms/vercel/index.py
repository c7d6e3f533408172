"""Vercel: `app`, as `vercel.json` says, in a project whose root directory is `functions/`."""

import sys
from importlib import import_module
from pathlib import Path

# Vercel calls that root something else, and no package.
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT.parent))

app = import_module(f"{ROOT.name}.asgi").app
