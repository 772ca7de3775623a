"""Which declines of a batch are excused: what this validator knows, for the rule in ``receipts.excuses``."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from horde_agents.agents.validator.excuses import is_signed_by_both, readable
from horde_agents.agents.validator.parts import Parts
from horde_agents.protocol.validator_miner import SignedReceipt
from horde_agents.receipts.excuses import Bad, Excused, ExcuseFacts, ExcuseLedger, Judgement, Signed
from horde_agents.receipts.payloads import JobStarted
from horde_agents.runtime.clock import now

_RAO_PER_TAO: Final = 1_000_000_000
#: A validator's own pages that were read longer ago than this show nothing.
_PAGE_FRESH: Final = timedelta(seconds=60)


@dataclass(slots=True)
class Excusing:
    """The excuses used in one batch; ``offered`` are executors by class, by miner."""

    parts: Parts
    offered: Mapping[str, Mapping[str, int]]
    minimum_stake_tao: int
    ledger: ExcuseLedger = field(default_factory=ExcuseLedger)

    @property
    def used(self) -> set[str]:
        """The jobs that have excused a decline."""
        return self.ledger.used

    async def excuse(self, offer: JobStarted, shown: Iterable[SignedReceipt]) -> str:
        """The uuid of the job that excuses a decline, and that excuses no other; empty when none does."""
        judged = await self.judge_decline(offer, shown)
        return judged.job_uuid if isinstance(judged, Excused) else ""

    async def judge_decline(
        self, offer: JobStarted, shown: Iterable[SignedReceipt], own_jobs_there: int = 0
    ) -> Judgement:
        """Judge a decline by the receipts that came with it, one job in a turn of the event loop."""
        if not self.parts.directory.stake_rao:
            return Bad("no stake is known")
        facts = self._facts(offer, own_jobs_there)
        judged = self.ledger.judge_decline(offer, (), facts)
        for receipts in _by_job(shown):
            if not isinstance(judged, Bad):
                break
            await asyncio.sleep(0)
            judged = self.ledger.judge_decline(offer, receipts, facts)
        return judged

    def _facts(self, offer: JobStarted, own_jobs_there: int) -> ExcuseFacts:
        parts, at = self.parts, now()
        others = parts.others_jobs
        return ExcuseFacts(
            own_hotkey=parts.signer.hotkey,
            stake_rao=parts.directory.stake_rao,
            minimum_stake_rao=self.minimum_stake_tao * _RAO_PER_TAO,
            offered=self.offered.get(offer.miner_hotkey, {}).get(offer.executor_class, 0),
            own_jobs_there=own_jobs_there,
            progress_interval_s=parts.progress_interval_s(),
            now=at,
            is_signed=is_signed_by_both,
            accepted_of=others.accepted,
            is_over=others.is_over,
            is_on_page=lambda signer, uuid: others.is_running(signer, uuid, at - _PAGE_FRESH),
        )


def _by_job(shown: Iterable[SignedReceipt]) -> list[Sequence[Signed]]:
    """What can be read of the receipts, those of one job together, in the order shown."""
    jobs: dict[tuple[str, str], list[Signed]] = {}
    for receipt in readable(tuple(shown)):
        payload = receipt.payload
        jobs.setdefault((payload.validator_hotkey, payload.job_uuid), []).append(receipt)
    return list(jobs.values())
