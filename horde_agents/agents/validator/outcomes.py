"""What the end of an attempt means for scoring. Pure."""

from horde_agents.agents.validator.reactions import is_busy, is_miners_fault
from horde_agents.jobs.events import Cancelled, Declined, Expired, Finished, HordeFailed, JobEvent, JobFailed
from horde_agents.scoring.facts import Outcome


def organic_outcome(event: JobEvent, *, is_excused: bool) -> tuple[Outcome, str]:
    """How a user's attempt ended, and why.

    A job that its user or the horde broke off has run for what was proven; one whose own command failed
    earns nothing, and is nobody's fault.
    """
    match event:
        case Finished():
            return Outcome.PASSED, ""
        case JobFailed():
            return Outcome.FAILED, f"the job failed: {event.reason}"
        case Declined() if is_excused:
            return Outcome.EXCUSED, "busy, with receipts that show it"
        case Declined():
            busy = "busy, without receipts that show it" if is_busy(event) else f"declined: {event.reason}"
            return Outcome.REJECTED_BADLY, busy
        case HordeFailed() if is_miners_fault(event):
            return Outcome.HORDE_ENDED, f"{event.reason}: {event.message}"
        case HordeFailed():
            return Outcome.NOT_RUN, f"not the miner's fault: {event.reason}"
        case Cancelled() | Expired():
            return Outcome.HORDE_ENDED, "the job was taken back"
        case _:
            return Outcome.NOT_RUN, "the attempt has no end"
