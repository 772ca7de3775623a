"""Every recorded frame is read, and written again to the same keys in the same order.

A case is a file: ``frame``, its ``source``, and either nothing more (it reads and renders to itself),
``reads`` (fields after reading) or ``error`` (the code of the refusal).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from horde_agents.protocol import facilitator_validator, miner_executor, validator_miner
from horde_agents.protocol.frames import MalformedFrame, read_object, render

FRAMES = Path(__file__).parent / "frames"
CASES = sorted(path.relative_to(FRAMES) for path in FRAMES.rglob("*.json"))
READERS: dict[str, Callable[[str], Any]] = {
    "validator_to_miner": lambda text: validator_miner.read_from_validator(text)[0],
    "miner_to_validator": validator_miner.read_from_miner,
    "facilitator_to_validator": lambda text: facilitator_validator.read_from_facilitator(text)[0],
    "validator_to_facilitator": facilitator_validator.read_from_validator,
    "executor_to_miner": miner_executor.read_from_executor,
    "miner_to_executor": miner_executor.read_from_miner,
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recorded_frame_reads_and_renders(case: Path) -> None:
    recorded = json.loads((FRAMES / case).read_text())
    read = READERS[case.parts[0]]
    if "error" in recorded:
        with pytest.raises(MalformedFrame) as refusal:
            read(json.dumps(recorded["frame"]))
        assert refusal.value.code == recorded["error"]
        return
    message: BaseModel = read(json.dumps(recorded["frame"]))
    if "reads" in recorded:
        fields = message.model_dump(mode="json")
        assert {name: fields[name] for name in recorded["reads"]} == recorded["reads"]
        return
    sent = {key: value for key, value in recorded["frame"].items() if key != "validator_signature"}
    assert json.loads(render(message)) == sent
    assert list(json.loads(render(message))) == list(sent), "key order"


def messages(union: Any) -> set[str]:
    """Names of the messages in an annotated union."""
    return {kind.__name__ for kind in get_args(get_args(union)[0])}


@pytest.mark.parametrize(
    ("folder", "union"),
    [
        ("validator_to_miner", validator_miner.FromValidator),
        ("miner_to_validator", validator_miner.FromMiner),
        ("facilitator_to_validator", facilitator_validator.FromFacilitator),
        ("validator_to_facilitator", facilitator_validator.FromValidator),
    ],
)
def test_every_message_of_a_published_link_has_a_recorded_frame(folder: str, union: Any) -> None:
    assert messages(union) <= {path.name for path in (FRAMES / folder).iterdir()}


def test_a_recorded_stock_signature_covers_its_frame() -> None:
    recorded = json.loads((FRAMES / "validator_to_miner/V0InitialJobRequest/recorded.json").read_text())[
        "frame"
    ]
    validator = recorded["job_started_receipt_payload"]["validator_hotkey"]
    assert validator_miner.frame_signature_holds(recorded, validator) is True
    assert validator_miner.frame_signature_holds({**recorded, "docker_image": "other"}, validator) is False


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@given(
    text=st.one_of(st.text(), st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
)
def test_no_text_does_worse_than_a_malformed_frame(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(MalformedFrame):
        read(text)


def test_a_frame_over_the_limit_is_not_parsed() -> None:
    with pytest.raises(MalformedFrame, match="10 is the most"):
        read_object('{"a": "' + "x" * 20 + '"}', limit_bytes=10)
