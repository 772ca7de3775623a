"""One text for one value: JSON with sorted keys, ASCII, no blanks and no floats."""

import json
from typing import Any


class NotCanonical(Exception):
    """A text is no canonical JSON of ours; it says why."""


def canonical_json(value: Any) -> str:  # noqa: ANN401  (whatever JSON can say)
    """The one text of a value made of dicts, lists, strings, integers, booleans and None."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def read_canonical(text: str) -> Any:  # noqa: ANN401
    """The value of a text.

    Raises:
        NotCanonical: no JSON, or a float in it.
    """
    try:
        return json.loads(text, parse_float=_refuse_float, parse_constant=_refuse_float)
    except (ValueError, RecursionError) as error:
        raise NotCanonical(f"is no JSON of integers and texts: {error}") from error


def _refuse_float(text: str) -> Any:  # noqa: ANN401
    raise ValueError(f"{text:.40} is no integer; scoring knows no floats")
