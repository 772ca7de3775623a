"""Where set-up keeps things: the checkout for the virtual environment, a cache folder for the rest."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "horde"
LOGS = CACHE / "logs"
REGISTRY_PORT = int(os.environ.get("SETUP_REGISTRY_PORT") or 5001)
REGISTRY = f"127.0.0.1:{REGISTRY_PORT}"
