"""The published client libraries, each in a virtual environment of its own: the other side of our tests.

They are installed as they are and never changed; ``requirements/stock-<name>.txt`` pins each.
"""

from pathlib import Path

from tools.setup.installer import digest_of, fits, install, make_environment
from tools.setup.places import CACHE, REQUIREMENTS
from tools.setup.progress import step

STOCK = ("sdk-0.0.18", "sdk-0.0.19", "miner-client-0.0.27")
_COMPLETE = "complete"


def stock_folder(name: str, digest: str, cache: Path = CACHE) -> Path:
    """Where the environment ``name`` lives whose lock has ``digest``."""
    return cache / "stock" / f"{name}-{digest[:12]}"


def stock_python(name: str) -> Path:
    """The Python of the stock environment ``name``; it exists after ``ensure_stock``."""
    return _folder(name) / "bin" / "python"


def stock_is_ready(name: str) -> bool:
    """True when the environment ``name`` of today's lock is completely installed."""
    return fits(_folder(name)) and (_folder(name) / _COMPLETE).exists()


def ensure_stock() -> None:
    """Install those of the stock environments that are not there."""
    for name in STOCK:
        if stock_is_ready(name):
            continue
        with step(f"stock client {name}"):
            python = make_environment(_folder(name), log=f"stock-{name}")
            install(python, f"stock-{name}", log=f"stock-{name}")
            (_folder(name) / _COMPLETE).touch()


def _folder(name: str) -> Path:
    return stock_folder(name, digest_of(REQUIREMENTS / f"stock-{name}.txt"))
