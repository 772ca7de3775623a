"""Makes the secrets that do not exist yet and prints their names, never their values: standard library only.

    python make_secrets.py [--check] FOLDER KIND:NAME …

Owns how a secret comes to be and who may read it; which there are is the caller's. A secret that exists is
never touched.
"""

import argparse
import base64
import os
import secrets
import stat
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

KINDS: dict[str, Callable[[], str]] = {
    "key": lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
    "token": lambda: str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)),
}


class SecretsRefused(Exception):
    """The folder, or a secret in it, is not as private as it has to be."""


def make_missing(folder: Path, wanted: list[tuple[str, str]], *, check: bool = False) -> list[str]:
    """Make those of ``wanted``, each a kind and a name, that ``folder`` lacks; return their names.

    With ``check`` nothing is made.

    Raises:
        SecretsRefused: others than the owner may read the folder or a secret; the text has the remedy.
    """
    _refuse_open(folder)
    made = []
    for kind, name in wanted:
        path = folder / name
        if path.exists():
            _refuse_open(path)
            continue
        made.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_once(path, KINDS[kind]())
    return made


def _write_once(path: Path, text: str) -> None:
    """A file that is there is whole: it gets its name when it is written."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    try:
        os.link(half, path)
    finally:
        half.unlink()


def _refuse_open(path: Path) -> None:
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SecretsRefused(f"{path} can be read by others than its owner. Run: chmod -R go= {path}")


def _wanted(word: str) -> tuple[str, str]:
    kind, _, name = word.partition(":")
    if kind not in KINDS or not name or name.startswith("/") or ".." in Path(name).parts:
        raise argparse.ArgumentTypeError(
            f"{word} is not {' or '.join(KINDS)}, a colon, and a name below FOLDER"
        )
    return kind, name


def main(words: list[str] | None = None) -> int:
    """Print the names of the secrets that were made; 1 with a sentence when the folder is refused."""
    os.umask(0o077)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="make nothing, print what would be made")
    parser.add_argument("folder", type=Path)
    parser.add_argument("wanted", type=_wanted, nargs="*")
    asked = parser.parse_args(words)
    try:
        made = make_missing(asked.folder, asked.wanted, check=asked.check)
    except SecretsRefused as refused:
        print(refused, file=sys.stderr)
        return 1
    sys.stdout.writelines(f"{name}\n" for name in made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
