"""Prints docs/operate/validator-api.md from the validator's OpenAPI description.

    python -m tools.validator_api_page docs/operate/validator-api.md

A test compares the page with what is printed here.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from horde_agents.agents.validator.api.openapi import ENDPOINTS, PATH, document
from horde_agents.agents.validator.api.openness import SHOWN_AFTER_CYCLES
from horde_agents.agents.validator.api.parameters import MOST_LIMIT
from horde_agents.agents.validator.api.refusals import ERRORS
from horde_agents.protocol.btauth import AHEAD_NS, BACK_NS

_HEAD: Final = f"""\
# The validator's HTTP endpoints

Printed from the code: `python -m tools.validator_api_page docs/operate/validator-api.md`. A running validator describes
them itself, as OpenAPI 3.1, at `{PATH}`.

They tell operators and other validators what this validator measured and decided. All can only be read, by GET or HEAD; the
listener (`api_host`, `api_port`, 127.0.0.1:9112 by default) is apart from the operators' port. In a terminal:

```
horde validator show --config validator.toml status
horde validator show --url http://198.51.100.7:9112 --hotkey-file ~/.bittensor/wallets/me/hotkeys/default verdicts
```

## Who may read

* Requests of the validator's own machine, unsigned, and requests signed by its own hotkey read everything below. A request that
  a proxy passed on, or that comes under a name other than localhost, is no such request. If a proxy on this
  machine adds no `X-Forwarded-For`, set `api_trusts_loopback = false`.
* Everybody else signs, and has to be a reader: `api_readers = "metagraph"` (the default: hotkeys with a validator permit), a list of
  hotkeys, or `"anyone"`, who need not sign.
* Until the chain shows a cycle's weights, its verdicts, outcomes, scores and weights are kept from others: whoever reads them could
  copy the weights. A cycle that is {SHOWN_AFTER_CYCLES} cycles old is shown in any case.
* Nobody reads of a batch that has not fired, what was expected of a job, or a salt. Readers that did not sign read no user's hotkey.

Signatures are Bittensor's btauth/1 (`bittensor.http_auth.sign(wallet, method="GET", path="/api/v1/status",
receiver_ss58=…)`) with an sr25519 hotkey, {AHEAD_NS // 10**9} s ahead to {BACK_NS // 10**9} s back, each once: sign every try anew. They cover method, path and query as
they go over the wire, so a proxy must not rewrite them. `{PATH}` is open and says in its header `X-Horde-Hotkey` for whom to sign.

## Pages

A list has at most `limit` rows (up to {MOST_LIMIT}) and a `next_cursor`; ask again with `cursor` until it is null. Rows that are added
meanwhile shift nothing. `ETag` and `If-None-Match` save answers that have not changed. A request that takes longer than
`api_reading_s`, or that is one too many of the reader's `api_requests_per_minute`, is refused and may come again.
A reader that did not sign is its IPv4 address, or its network of IPv6 (/64).
"""


def validator_api_page() -> str:
    """The whole page."""
    described = document()
    parts = [_HEAD, "## Paths\n", *_table(("path", "tells"), _paths(described))]
    for endpoint in ENDPOINTS:
        parts += ["", *_section(endpoint.path, described)]
    parts += [
        "\n## Refusals\n",
        "Each is `{error, code, detail, details}`; `error` and `detail` are one sentence.\n",
    ]
    parts += _table(
        ("code", "HTTP", "means"),
        ((f"`{code}`", str(status), text) for code, (status, text) in ERRORS.items()),
    )
    return "\n".join([*parts, ""])


def _paths(described: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path, item in described["paths"].items():
        yield f"`{path}`", item["get"]["summary"]


def _section(path: str, described: Mapping[str, Any]) -> Iterator[str]:
    operation = described["paths"][path]["get"]
    yield f"### `{path}`\n"
    yield operation["summary"] + "\n"
    if operation["parameters"]:
        rows = [
            (f"`{p['name']}`", p["in"], _kind(p["schema"]), p["description"]) for p in operation["parameters"]
        ]
        yield from _table(("parameter", "in", "is", "means"), iter(rows))
        yield ""
    schemas = described["components"]["schemas"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    yield from _table(("field", "is", "means"), _fields(answer, schemas))


def _fields(model: str, schemas: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str, str]]:
    for name, schema in schemas[model]["properties"].items():
        yield f"`{above}{name}`", _kind(schema), schema.get("description", "").replace("|", "\\|")
        for inner, end in _inner(schema):
            yield from _fields(inner, schemas, f"{above}{name}{end}.")


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The models that a field is made of, and what stands behind its name then."""
    for option in schema.get("anyOf", [schema]):
        end = "[]" if option.get("type") == "array" else ""
        ref = option.get("items", option).get("$ref")
        if ref:
            yield ref.rpartition("/")[2], end


def _kind(schema: Mapping[str, Any]) -> str:
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(_kind(option) for option in options)
    if "$ref" in schema:
        return "object"
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return "list"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_kind(schema['additionalProperties'])}"
    kind = str(schema.get("format") or schema.get("type", "any"))
    if "minimum" in schema and schema["maximum"] < 2**32:
        return f"{kind} {schema['minimum']}..{schema['maximum']}"
    return kind


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return [*lines, *(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(validator_api_page())
