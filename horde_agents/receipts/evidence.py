"""Payment evidence: a bundle of receipts with both signatures, that anybody can verify offline. Pure.

The first line says what the bundle is; every further line has the canonical text that both sides signed, the
two signatures and the names of the signers. Nothing else is needed to verify it.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from horde_agents.receipts.ledger import ProgressReceipt, Receipt
from horde_agents.receipts.payloads import (
    JobProgress,
    ReceiptWrong,
    Statement,
    read_payload,
    read_progress,
    signed_text,
)

FORMAT: Final = "horde-receipts/1"
#: Bytes of a line at most: a finished receipt with ten thousand block numbers.
LINE_BYTES: Final = 256 * 1024

#: Whether a hotkey signed a text: (hotkey, text, signature in hex).
Verify = Callable[[str, bytes, str], bool]


class BundleWrong(Exception):
    """A file is no bundle of receipts; the text names the line and the remedy."""


@dataclass(frozen=True, slots=True)
class LineVerdict:
    """What is to be said of one line; ``why`` is empty for a receipt that holds."""

    number: int
    what: str
    why: str = ""


def bundle_lines(receipts: Iterable[Receipt | ProgressReceipt], about: dict[str, Any]) -> Iterator[str]:
    """The bundle, a line at a time."""
    yield json.dumps({"format": FORMAT, **about}, sort_keys=True) + "\n"
    for receipt in receipts:
        value = {
            "text": signed_text(receipt.payload).decode(),
            "validator_signature": receipt.validator_signature,
            "miner_signature": receipt.miner_signature,
        }
        yield json.dumps(value, sort_keys=True) + "\n"


def check_header(line: bytes) -> None:
    """Whether the file is a bundle at all.

    Raises:
        BundleWrong: it is none, or of another version.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BundleWrong("line 1 is not JSON; give a file made by `horde receipts export`") from error
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        raise BundleWrong(f"line 1 says format {found!r:.40}, not {FORMAT}; export the receipts again")


def verdicts(lines: Iterable[bytes], verify: Verify) -> Iterator[LineVerdict]:
    """One verdict a line, from the file's second on; a receipt that comes twice holds once."""
    seen: set[tuple[str, ...]] = set()
    for number, line in enumerate(lines, start=2):
        payload, verdict = _verdict(number, line, verify)
        if payload is not None:
            sequence = payload.sequence if isinstance(payload, JobProgress) else 0
            names = (payload.validator_hotkey, payload.miner_hotkey)
            key = (payload.job_uuid, payload.receipt_type.value, *names, str(sequence))
            if key in seen:
                verdict = LineVerdict(number, verdict.what, "stands in the bundle twice")
            seen.add(key)
        yield verdict


def _verdict(number: int, line: bytes, verify: Verify) -> tuple[Statement | None, LineVerdict]:
    try:
        value = json.loads(line)
        text = value["text"].encode()
        payload = _payload(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return None, LineVerdict(number, "no receipt", f"cannot be read: {str(error)[:120] or repr(error)}")
    except ReceiptWrong as error:
        return None, LineVerdict(number, "no receipt", str(error))
    what = f"{payload.receipt_type} of job {payload.job_uuid}"
    if signed_text(payload) != text:
        return None, LineVerdict(number, what, "its text is not in the canonical form")
    for side, hotkey in (("validator", payload.validator_hotkey), ("miner", payload.miner_hotkey)):
        signature = value.get(f"{side}_signature")
        if not isinstance(signature, str) or not verify(hotkey, text, signature):
            return None, LineVerdict(number, what, f"is not signed by its {side} {hotkey}")
    return payload, LineVerdict(number, what)


def _payload(value: Any) -> Statement:  # noqa: ANN401  (one JSON value)
    if not isinstance(value, dict):
        raise ReceiptWrong("its text is no JSON object")
    return read_progress(value) if value.get("receipt_type") == "JobProgressReceipt" else read_payload(value)
