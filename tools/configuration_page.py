"""Prints docs/operate/configuration.md from the model of the dynamic configuration.

    python -m tools.configuration_page docs/operate/configuration.md

A test compares the page with what is printed here.
"""

import json
import sys
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo

from horde_agents.scoring.configuration import Configuration

_HEAD: Final = """\
# Dynamic configuration

The knobs that all validators of a subnet turn together, while they run. Printed from the code:
`python -m tools.configuration_page docs/operate/configuration.md`

## How it comes

One JSON document, signed by a hotkey that the operator trusts:

```json
{"configuration": {"version": 2, "burn_rate": "0.1"}, "signatory": "5F…", "signature": "0x…"}
```

A validator looks for it at `configuration_source` (a file or an http address) every `configuration_poll_s`, and
applies it only whole:

- The signatory is one of `configuration_signers` and its sr25519 signature fits the line
  `horde dynamic configuration 1` and, after a newline, the canonical JSON of `configuration`: keys sorted, no
  blanks, ASCII, no floats.
- Every knob is known, of its type and within its range. What is left out has its default, whatever an
  earlier version said.
- `version` is above all versions ever applied, so that an old document cannot be played again.

Anything else changes nothing: the last good one stays in force, also after a restart, the log says what is
wrong and `horde_validator_configuration_refusals` counts up. `horde_validator_configuration_version` shows what
is in force. A signatory taken out of `configuration_signers` loses its stored versions at the next start. A
cycle is scored with the configuration in force when it is scored, which is stored beside the score.

```
horde config sign knobs.json --hotkey-file owner.hotkey --out validators.json
horde config check validators.json --config validator.toml
horde config show --config validator.toml
```

## Knobs

Exact numbers are texts such as `"1.3"` or `"13/10"`, since floats differ between machines.

| knob | type | default | meaning |
| --- | --- | --- | --- |
"""
_TYPES: Final = {"str": "exact number", "int": "whole number", "bool": "true or false"}


def configuration_page() -> str:
    """The whole page."""
    return _HEAD + "".join(map(_line, Configuration.model_fields, Configuration.model_fields.values()))


def _line(name: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    text = "by class" if name == "class_weights" else f"`{json.dumps(default)}`"
    return f"| `{name}` | {_type_name(field)} | {text} | {field.description} |\n"


def _type_name(field: FieldInfo) -> str:
    annotation = field.annotation
    plain = getattr(annotation, "__name__", "")
    return _TYPES.get(plain) or {"dict": "whole number by class", "tuple": "list of texts"}[plain]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(configuration_page())
