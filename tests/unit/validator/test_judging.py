"""What outputs of one job at several miners prove, and how often anybody looks."""

from fractions import Fraction
from typing import Any

import pytest

from horde_agents.agents.validator.judging import (
    Output,
    chance,
    has_output,
    report_ruling,
    ruling,
    why_not_comparable,
)
from horde_agents.agents.validator.reruns import rerun_frame
from horde_agents.jobs.events import Finished
from horde_agents.jobs.states import Role
from horde_agents.protocol.facilitator_validator import V2JobRequest
from horde_agents.protocol.signed_fields import signed_fields_payload, verify_payload, view_of_forwarded
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY, KeypairSigner
from horde_agents.testing.signed_jobs import job_frame

DIGEST = "alpine@sha256:" + "0" * 64
ALICE = KeypairSigner.from_uri("//Alice")


def out(miner: str, text: str, **more: Any) -> Output:
    return Output(miner, Finished(Role.MINER, stdout=text, **more))


def test_two_that_agree_are_both_right() -> None:
    found = ruling(out("a", "x"), [out("b", "x", stderr="other")])
    assert found is not None
    assert (found.state, found.loser) == ("agreed", "")


def test_one_mismatch_says_nothing_yet() -> None:
    assert ruling(out("a", "x"), [out("b", "y")]) is None


@pytest.mark.parametrize(("third", "loser"), [("x", "b"), ("y", "a")])
def test_a_third_decides(third: str, loser: str) -> None:
    found = ruling(out("a", "x"), [out("b", "y"), out("c", third)])
    assert found is not None
    assert (found.state, found.loser) == ("disagreed", loser)


def test_three_that_all_differ_prove_the_job_unsteady_and_nobody_wrong() -> None:
    found = ruling(out("a", "x"), [out("b", "y"), out("c", "z")])
    assert found is not None
    assert (found.state, found.loser) == ("undecided", "")


def test_the_trusted_miner_is_never_found_wrong() -> None:
    found = ruling(out("a", "x"), [out(TRUSTED_MINER_HOTKEY, "y"), out("c", "x")])
    assert found is not None
    assert (found.state, found.loser) == ("undecided", "")


def test_artifacts_are_compared_too() -> None:
    assert out("a", "x", artifacts={"/o": "AA=="}).digest != out("a", "x", artifacts={"/o": "AB=="}).digest
    assert (
        out("a", "x", artifacts={"/o": "", "/p": ""}).digest
        == out("a", "x", artifacts={"/p": "", "/o": ""}).digest
    )


@pytest.mark.parametrize(
    ("reruns", "state"),
    [
        (["x"], "agreed"),
        (["y", "x"], "agreed"),
        (["y", "y"], "disagreed"),
        (["y", "z"], "undecided"),
    ],
)
def test_a_report_holds_only_where_two_reruns_agree_against_the_miner(reruns: list[str], state: str) -> None:
    found = report_ruling(out("a", "x"), [out(f"m{n}", text) for n, text in enumerate(reruns)])
    assert found is not None
    assert found.state == state
    assert found.loser == ("a" if state == "disagreed" else "")


def test_one_rerun_that_differs_decides_no_report() -> None:
    assert report_ruling(out("a", "x"), [out(TRUSTED_MINER_HOTKEY, "y")]) is None


def test_all_of_a_newcomers_jobs_are_looked_at_and_few_after_fifty_clean_ones() -> None:
    share = Fraction("0.02")
    assert chance(share, 0) == 1.0
    assert chance(share, 25) == pytest.approx(0.02**0.5)
    assert chance(share, 50) == chance(share, 10**6) == pytest.approx(0.02)
    assert [chance(Fraction(0), n) for n in (0, 50)] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("change", "is_comparable"),
    [
        ({"docker_image": DIGEST}, True),
        ({"docker_image": "alpine:3.20"}, False),
        ({"docker_image": DIGEST, "streaming_details": {"public_key": "k"}}, False),
    ],
)
def test_only_jobs_that_should_repeat_are_compared(change: dict[str, Any], is_comparable: bool) -> None:
    request = V2JobRequest.model_validate(job_frame(ALICE, **change))
    assert (why_not_comparable(request) is None) == is_comparable


def test_a_job_without_output_has_nothing_to_compare() -> None:
    assert not has_output(Finished(Role.MINER, stderr="noise"))


def test_a_rerun_uploads_nothing_and_is_signed_by_the_validator() -> None:
    upload = {
        "output_upload_type": "single_file_put",
        "relative_path": "o",
        "url": "http://x/o",
        "signed_headers": None,
    }
    user = KeypairSigner.from_uri("//User")
    request = V2JobRequest.model_validate(job_frame(user, docker_image=DIGEST, uploads=[upload]))
    assert request.output_upload is not None
    frame = rerun_frame(request, "always_on.test", ALICE)
    assert frame["output_upload"] is None
    assert frame["uuid"] != request.uuid
    again = V2JobRequest.model_validate(frame)
    assert again.signature.signatory == ALICE.hotkey
    assert verify_payload(again.signature.plain(), signed_fields_payload(view_of_forwarded(frame)))
