"""Takes secrets out of texts that leave an operator's hands, such as logs for somebody who helps.

    python3 -m horde_agents.cli.redaction FOLDER --known FILE_OR_FOLDER …

rewrites every file below FOLDER. Two nets, one behind the other: values that are known, wherever they stand
and however they are encoded; and what looks like a secret by its form or by its name. Then it looks again,
and ends with 1 if a known value is left. Needs Python alone. Prints how often it took what out, by name.
"""

import argparse
import base64
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

#: Shorter values are words of every log, and no secret that we make is as short.
_SHORTEST: Final = 8
#: Of a hotkey's file: what everybody may know.
_PUBLIC: Final = frozenset({"accountId", "publicKey", "ss58Address"})
#: Folders of IDs, which are in every log.
_NO_SECRETS: Final = frozenset({"nodes"})
_PEM_LINE: Final = re.compile(r"[A-Za-z0-9+/=]{16,}")
_PRIVATE: Final = "PRIVATE KEY-----"
_NAME: Final = (
    r"[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|mnemonic|seed|phrase|secret_?id|cookie|signature"
    r"|credential|encrypt|(?:access|private|secret|api|gossip)[_-]?key)s?"
)
#: Names that end like this say where a secret is, or which, and not what it is.
_HARMLESS: Final = re.compile(
    r"(?:_|-)?(?:file|path|dir|folder|url|header|accessor|ttl|type|name|count|kind|policies)s?$",
    re.IGNORECASE,
)
#: What a form of secret is called → its pattern, whose group ``secret`` is taken out.
_FORMS: Final[Mapping[str, re.Pattern[str]]] = {
    "private key": re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?P<secret>.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    "signed token": re.compile(r"(?P<secret>\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,})"),
    "password in a URL": re.compile(
        r"\b[a-z][a-z0-9+.-]*://[^\s:/@'\"]*:(?P<secret>[^\s@/'\"]+)@", re.IGNORECASE
    ),
    "header": re.compile(
        r"\b(?:authorization|x-(?:nomad|consul|vault)-token|cookie|set-cookie)['\"]?\s*[:=]\s*['\"]?"
        r"(?P<secret>(?:(?:bearer|basic|digest)\s+)?[^\s'\",]+)",
        re.IGNORECASE,
    ),
    "signed request": re.compile(
        r"[?&](?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|Signature|sig|token)=(?P<secret>[^&\s'\"]+)",
        re.IGNORECASE,
    ),
    "seed": re.compile(r"(?P<secret>\b0x[0-9a-f]{128}\b)", re.IGNORECASE),
}
_NAMED: Final = re.compile(
    rf"(?P<name>\b{_NAME})(?P<between>['\"\\]*\s*[:=]\s*)"
    r"(?:(?P<quote>\\?['\"])(?P<quoted>.*?)(?P=quote)|(?P<bare>[^\s,;'\"}\]&]+))",
    re.IGNORECASE,
)
_NOT_SECRET: Final = frozenset({"", "null", "none", "true", "false", "redacted", "<none>"})


class Redactor:
    """Takes secrets out of texts and counts them; ``known`` is value → what it is called."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.taken: Counter[str] = Counter()
        written: dict[str, str] = {}
        for value, name in known.items():
            written |= dict.fromkeys(_writings(value), name)
        self._known = written
        longest_first = sorted(written, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if written else None

    def redacted(self, text: str) -> str:
        """The text with a word in brackets for each secret."""
        if self._pattern is not None:
            text = self._pattern.sub(lambda found: self._mark(self._known[found.group()]), text)
        for name, pattern in _FORMS.items():
            text = pattern.sub(lambda found, name=name: self._without(found, "secret", name), text)  # type: ignore[misc]
        return _NAMED.sub(self._named, text)

    def left(self, text: str) -> str:
        """What a known secret is called that is in the text; empty where none is."""
        found = self._pattern.search(text) if self._pattern is not None else None
        return self._known[found.group()] if found else ""

    def _named(self, found: re.Match[str]) -> str:
        group = "quoted" if found["quoted"] is not None else "bare"
        value = found[group]
        if (
            _HARMLESS.search(found["name"])
            or value.lower() in _NOT_SECRET
            or value.startswith(("[redacted", "/"))
        ):
            return found.group()
        return self._without(found, group, "by its name")

    def _without(self, found: re.Match[str], group: str, name: str) -> str:
        if found[group].startswith("[redacted"):
            return found.group()
        start, end = found.start(group) - found.start(), found.end(group) - found.start()
        whole = found.group()
        return whole[:start] + self._mark(name) + whole[end:]

    def _mark(self, name: str) -> str:
        self.taken[name] += 1
        return f"[redacted: {name}]"


def known_secrets(places: Iterable[Path]) -> dict[str, str]:
    """Value → name, of all files that are named or below the folders that are."""
    found: dict[str, str] = {}
    for place in places:
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if file.is_file() and file.parent.name not in _NO_SECRETS:
                name = str(file.relative_to(place)) if place.is_dir() else file.name
                found |= dict.fromkeys(_values(file.read_text(encoding="latin-1")), name)
    return found


def _values(text: str) -> Iterator[str]:
    """The secrets in one file: those of a hotkey's JSON, a key's lines, or all that it has."""
    if _PRIVATE in text:
        yield from (line for line in text.splitlines() if _PEM_LINE.fullmatch(line))
        return
    if "-----BEGIN" in text:  # a certificate is no secret
        return
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    values = _strings(told) if isinstance(told, dict) else [text.strip()]
    yield from (value for value in values if len(value) >= _SHORTEST)


def _strings(told: dict[str, Any]) -> Iterator[str]:
    for name, value in told.items():
        if isinstance(value, dict):
            yield from _strings(value)
        elif isinstance(value, str) and name not in _PUBLIC:
            yield value
            yield value.removeprefix("0x")


def _writings(value: str) -> Iterator[str]:
    """A value as texts have it."""
    raw = value.encode()
    yield from (value, quote(value, safe=""), json.dumps(value)[1:-1])
    yield from (
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    )


def main(words: list[str]) -> int:
    """0 when no known secret is left below the folder."""
    parser = argparse.ArgumentParser(
        prog="redaction", description="Take secrets out of the files of a folder."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--known", type=Path, action="append", default=[], help="a file or folder with secrets"
    )
    asked = parser.parse_args(words)
    redactor = Redactor(known_secrets(asked.known))
    left = []
    for file in sorted(each for each in asked.folder.rglob("*") if each.is_file() and not each.is_symlink()):
        text = redactor.redacted(file.read_text(encoding="latin-1"))
        file.write_text(text, encoding="latin-1")
        if name := redactor.left(text):
            left.append(f"{file} still has {name}")
    print(json.dumps(dict(redactor.taken.most_common())))
    print("\n".join(left), file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
