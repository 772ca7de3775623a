"""The chain's runtime metadata, which the development chain serves and nobody commits."""

from tools.setup.installer import digest_of
from tools.setup.places import CACHE, REQUIREMENTS, ROOT, VENV_PYTHON
from tools.setup.progress import run, step

_FETCHER = ROOT / "horde_agents" / "devchain" / "fetch_metadata.py"
_STAMP = CACHE / "chain-metadata.stamp"


def ensure_chain_metadata() -> None:
    """Fetch the metadata that belongs to the locked bittensor, unless that was done."""
    wanted = digest_of(_FETCHER, REQUIREMENTS / "runtime.txt")
    if _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    with step("chain metadata"):
        run([VENV_PYTHON, "-m", "horde_agents.devchain.fetch_metadata"], log="chain")
    _STAMP.write_text(wanted)
