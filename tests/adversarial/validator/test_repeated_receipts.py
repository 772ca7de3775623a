"""Receipts that are repeated, or signed anew, without end."""

import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from horde_agents.agents.validator.occupancy import Occupancy
from horde_agents.agents.validator.others_jobs import OthersJobs
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobStarted, Payload
from horde_agents.runtime.clock import now
from tests.fixtures.receipt_lines import CLASS, accepted, finished, started

MINER, ACCOMPLICE = KeypairSigner.from_uri("//Miner"), KeypairSigner.from_uri("//Accomplice")
HONEST = KeypairSigner.from_uri("//Honest")
MONTH_S = 30 * 24 * 3600


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def _growth(jobs: OthersJobs, of: JobStarted, times: int) -> int:
    """Bytes kept after two receipts were repeated so often."""
    pair = [Receipt(of, "0x1", "0x2"), Receipt(accepted(of, ttl=MONTH_S), "0x1", "0x2")]
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(times):
        jobs.note(pair)
    return tracemalloc.get_traced_memory()[0] - before


def test_repeated_receipts_of_a_month_take_no_memory() -> None:
    """Both signed once, for as long as the wire allows; each page of the miner repeats them."""
    jobs, of = OthersJobs(), started(MINER, ACCOMPLICE)
    once, often = _growth(jobs, of, 1), _growth(jobs, of, 2000)
    assert often < 10 * once


def _noted(jobs: OthersJobs, *payloads: Payload) -> None:
    jobs.note(Receipt(payload, "0x1", "0x2") for payload in payloads)


def _flood(of: Callable[[JobStarted], Payload], jobs: OthersJobs, times: int) -> None:
    """Ever new jobs of the accomplice, each for a month."""
    usual = started(MINER, ACCOMPLICE, ttl=MONTH_S)
    for _ in range(times):
        _noted(jobs, of(usual.model_copy(update={"job_uuid": str(uuid4())})))


def _offered(of: JobStarted) -> Payload:
    return of


def _taken(of: JobStarted) -> Payload:
    return accepted(of, ttl=MONTH_S)


@pytest.mark.parametrize("kind", [_offered, _taken, finished])
def test_ever_new_receipts_of_one_signer_take_bounded_memory(kind: Callable[[JobStarted], Payload]) -> None:
    jobs = OthersJobs(most_ended=100, most_running=100)
    _flood(kind, jobs, 2000)  # the spare room of all that is bounded is used up
    before, _ = tracemalloc.get_traced_memory()
    _flood(kind, jobs, 5000)
    assert tracemalloc.get_traced_memory()[0] - before < 100_000


def test_a_flood_of_receipts_leaves_the_jobs_of_another_signer_as_they_are() -> None:
    jobs = OthersJobs(most_ended=100, most_running=100)
    runs, over = started(MINER, HONEST), started(MINER, HONEST)
    _noted(jobs, runs, accepted(runs), finished(over))
    for kind in (_offered, _taken, finished):
        _flood(kind, jobs, 1000)
    own_busy, at = 1, now()
    assert jobs.accepted(HONEST.hotkey, runs.job_uuid) is not None
    assert jobs.is_over(HONEST.hotkey, over.job_uuid)
    _flood(_offered, jobs, 300)
    assert jobs.occupancy.counts(CLASS, at)[MINER.hotkey] <= own_busy + 99
    _noted(jobs, finished(runs))
    assert jobs.accepted(HONEST.hotkey, runs.job_uuid) is None


def test_a_job_that_its_signer_places_at_two_miners_is_counted_at_the_first() -> None:
    jobs, of = OthersJobs(), started(MINER, ACCOMPLICE)
    _noted(jobs, of, of.model_copy(update={"miner_hotkey": HONEST.hotkey}))
    assert jobs.occupancy.counts(CLASS, now()) == {MINER.hotkey: 1}
    _noted(jobs, finished(of))
    assert not jobs.occupancy.counts(CLASS, now())


def test_an_accepted_receipt_that_comes_alone_is_forgotten_when_its_time_is_over() -> None:
    occupancy, of = Occupancy(), started(MINER, ACCOMPLICE)
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(2000):
        occupancy.note(accepted(of, ttl=1, job_uuid=str(uuid4())))
    assert not occupancy.counts(CLASS, now() + timedelta(days=1))
    assert tracemalloc.get_traced_memory()[0] - before < 100_000
