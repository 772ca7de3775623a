"""The pool of a horde: holders as Nomad allocations on gpu nodes, kept by one miner at a time."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from horde_agents.agents.miner.attempts import Attempts
from horde_agents.agents.miner.nomad.holder_jobs import HolderJobs, holder_job_file
from horde_agents.agents.miner.nomad.holder_tokens import HolderTokens
from horde_agents.agents.miner.nomad.keeper import Keeper
from horde_agents.agents.miner.nomad.on_demand import OnDemandHolders
from horde_agents.agents.miner.nomad.vacated import end_vacated
from horde_agents.agents.miner.pool import HolderAccess, HordeLink, PoolLink
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.nomad import Nomad
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.placement.records import KEEPER
from horde_agents.runtime.settings import SettingsWrong
from horde_agents.runtime.supervisor import Supervisor, supervised


class NomadPool:
    """The setting ``slots`` is by class: holders of the whole horde where they are kept warm, else attempts
    at once at this miner, each of which has a holder started for it."""

    outlives_miner = True

    def __init__(self, settings: MinerSettings) -> None:
        unknown = sorted(settings.slots.keys() - CATALOGUE.keys())
        if unknown:
            raise SettingsWrong(
                f"Setting 'slots' names {unknown[0]!r}, which is no executor class; "
                "the classes are in jobs/classes.toml and in your class_file."
            )
        self._settings = settings
        self._nomad = Nomad(nomad_address(settings), settings.nomad_namespace)
        job_file = holder_job_file(settings.holder_job_file)
        self._jobs = HolderJobs(self._nomad, job_file, holder_variables(settings))
        self._on_demand: OnDemandHolders | None = None

    def slots(self) -> Mapping[str, str]:
        """None by name: which there are is Nomad's to say."""
        return {}

    def access(self, attempts: Attempts) -> HolderAccess:
        """How holders prove what they are, and how one is started for an attempt."""
        self._on_demand = OnDemandHolders(self._nomad, self._jobs, self._settings.horde, attempts)
        return HolderAccess(HolderTokens(self._nomad), self._on_demand)

    @asynccontextmanager
    async def running(self, link: PoolLink) -> AsyncIterator[None]:
        """Keep holders in this miner's turn as the keeper; they go on when it ends."""
        horde, on_demand = link.horde, self._on_demand
        assert horde is not None, "the settings refuse a Nomad pool without a shared placement"
        assert on_demand is not None, "the miner asks for access before it opens its door"
        warm, at_once = self._counts()
        settings, shared = self._settings, horde.shared
        keeper = Keeper(self._nomad, shared.view, self._jobs, settings.horde, settings.nomad_node_pool, warm)
        try:
            async with supervised() as loops:
                _open_on_demand(on_demand, horde, loops, at_once)
                loops.keep("keeper", lambda: shared.membership.hold(KEEPER, keeper.work))
                loops.keep("vacated slots", lambda: end_vacated(shared.view, horde.attempts))
                yield
        finally:
            await self._nomad.close()

    def _counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Holders to keep, and attempts at once without one, by class."""
        slots = self._settings.slots
        warm = {name: count for name, count in slots.items() if CATALOGUE[name].warm}
        return warm, {name: count for name, count in slots.items() if name not in warm}


def holder_variables(settings: MinerSettings) -> dict[str, Any]:
    """An operator's values for the holders' job file."""
    variables = {**settings.holder_variables, "settings": settings.executor_env}
    variables.setdefault("node_pool", settings.nomad_node_pool)
    return variables


def nomad_address(settings: MinerSettings) -> ClusterAddress:
    """Where Nomad is, and how to speak with it."""
    return ClusterAddress(
        tuple(settings.nomad_urls),
        settings.nomad_token_file,
        settings.nomad_ca_file,
        settings.nomad_certificate_file,
        settings.nomad_key_file,
    )


def _open_on_demand(
    holders: OnDemandHolders, horde: HordeLink, loops: Supervisor, at_once: Mapping[str, int]
) -> None:
    view = horde.shared.view
    holders.open(horde.address, loops.spawn)
    loops.spawn("jobs of holders on demand", holders.prepare(at_once))
    for seat in holders.seats(at_once):
        horde.slots.add_seat(seat)
    loops.keep("holders on demand", lambda: holders.sweep(view.addresses))
