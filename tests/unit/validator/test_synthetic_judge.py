"""What the end of a synthetic job means: every fault lands with whom it belongs to, and has a reason."""

from dataclasses import replace

import pytest

from horde_agents.agents.validator.synthetic.judge import (
    OWN_JOB,
    Circumstances,
    early_finding,
    is_cut_off,
    is_store_down,
)
from horde_agents.jobs.events import Cancelled, Declined, Expired, Finished, HordeFailed, JobEvent, JobFailed
from horde_agents.jobs.faults import HordeFaultReason, JobFaultReason, RejectionReason, Stage
from horde_agents.jobs.states import Role
from horde_agents.scoring.facts import Outcome

_FINE = Circumstances(fired=True, took_us=5_000_000, limit_us=10_000_000, lag_s=0.1, most_lag_s=1.0)
_BUSY = Declined(Role.MINER, RejectionReason.BUSY)
_LOST = HordeFailed(Role.VALIDATOR, HordeFaultReason.MINER_CONNECTION_FAILED, "no route")
_SILENT = HordeFailed(Role.VALIDATOR, HordeFaultReason.EXECUTION_TIMED_OUT, "silent")
_NO_DOWNLOAD = JobFailed(Role.EXECUTOR, JobFaultReason.DOWNLOAD_FAILED, Stage.VOLUME_DOWNLOAD, "404")


def _outcome(event: JobEvent, around: Circumstances = _FINE) -> Outcome | None:
    found = early_finding(event, around)
    assert found is None or found.why
    return found.outcome if found else None


def test_an_answer_in_time_is_for_the_kind_to_judge() -> None:
    assert _outcome(Finished(Role.MINER)) is None
    assert _outcome(Finished(Role.MINER), replace(_FINE, took_us=10_000_000)) is None


def test_a_late_answer_fails() -> None:
    assert _outcome(Finished(Role.MINER), replace(_FINE, took_us=10_000_001)) is Outcome.FAILED


def test_an_answer_before_the_instant_fails() -> None:
    assert _outcome(Finished(Role.MINER), replace(_FINE, fired=False, took_us=0)) is Outcome.FAILED


@pytest.mark.parametrize("event", [_SILENT, _LOST, replace(_SILENT, origin=Role.MINER)])
def test_a_validator_that_was_slow_itself_blames_nobody(event: JobEvent) -> None:
    assert _outcome(event) is Outcome.FAILED
    assert _outcome(event, replace(_FINE, lag_s=1.5)) is Outcome.NOT_RUN


def test_a_late_answer_to_a_slow_validator_is_not_run() -> None:
    assert _outcome(Finished(Role.MINER), replace(_FINE, took_us=11_000_000, lag_s=1.5)) is Outcome.NOT_RUN


def test_an_own_fault_is_not_run() -> None:
    own = HordeFailed(Role.VALIDATOR, HordeFaultReason.UNHANDLED_EXCEPTION, "broke")
    assert _outcome(own) is Outcome.NOT_RUN


def test_a_busy_decline_needs_an_excuse() -> None:
    assert _outcome(_BUSY) is Outcome.REJECTED_BADLY
    assert _outcome(_BUSY, replace(_FINE, excuse="busy with job x")) is Outcome.EXCUSED


def test_an_own_job_explains_a_decline_before_any_excuse() -> None:
    found = early_finding(_BUSY, replace(_FINE, explains_decline=True, excuse="busy with job x"))
    assert found is not None
    assert (found.outcome, found.why) == (Outcome.NOT_RUN, OWN_JOB)


@pytest.mark.parametrize("reason", set(RejectionReason) - {RejectionReason.BUSY})
def test_any_other_decline_is_rejected_badly(reason: RejectionReason) -> None:
    around = replace(_FINE, explains_decline=True, excuse="busy with job x")
    assert _outcome(Declined(Role.MINER, reason), around) is Outcome.REJECTED_BADLY


def test_who_reaches_nobody_blames_nobody() -> None:
    assert _outcome(_LOST) is Outcome.FAILED
    assert _outcome(_LOST, replace(_FINE, is_cut_off=True)) is Outcome.NOT_RUN
    assert _outcome(_SILENT, replace(_FINE, is_cut_off=True)) is Outcome.FAILED


def test_a_store_that_fails_for_most_blames_nobody() -> None:
    assert _outcome(_NO_DOWNLOAD) is Outcome.FAILED
    assert _outcome(_NO_DOWNLOAD, replace(_FINE, is_store_down=True)) is Outcome.NOT_RUN
    failed = JobFailed(Role.EXECUTOR, JobFaultReason.NONZERO_RETURN_CODE, Stage.EXECUTION, "1")
    assert _outcome(failed, replace(_FINE, is_store_down=True)) is Outcome.FAILED


@pytest.mark.parametrize("event", [Cancelled(Role.MINER), Expired(Role.MINER)])
def test_any_other_end_fails(event: JobEvent) -> None:
    assert _outcome(event) is Outcome.FAILED


def test_one_miner_alone_that_cannot_be_reached_is_its_own_fault() -> None:
    assert not is_cut_off({"a": [_LOST]})
    assert not is_cut_off({"a": [_LOST], "b": [_SILENT]})
    assert is_cut_off({"a": [_LOST, _SILENT], "b": [_LOST]})


def test_a_minority_cannot_blame_the_store() -> None:
    fine = Finished(Role.MINER)
    assert not is_store_down({"a": [_NO_DOWNLOAD]})
    assert not is_store_down({"a": [_NO_DOWNLOAD], "b": [fine]})
    assert not is_store_down({"a": [_NO_DOWNLOAD], "b": [_NO_DOWNLOAD], "c": [fine], "d": [fine]})
    assert is_store_down({"a": [_NO_DOWNLOAD], "b": [_NO_DOWNLOAD, fine], "c": [fine]})
