"""Makes the holders' Nomad jobs from the class catalogue and ``nomad_jobs/holder.nomad.hcl``."""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import horde_agents
from horde_agents.agents.miner.nomad.picture import parent_id
from horde_agents.clients.nomad import Nomad
from horde_agents.jobs.classes import ExecutorClass
from horde_agents.runtime.settings import SettingsWrong

_NAME: Final = "holder.nomad.hcl"


@dataclass(slots=True)
class HolderJobs:
    """Registers a class's job when it is first needed, and again after ``forget``.

    ``variables`` are an operator's values for the job file; the catalogue's go before them.
    """

    nomad: Nomad
    file: Path
    variables: Mapping[str, Any]
    _registered: set[str] = field(default_factory=set)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ensure(self, row: ExecutorClass) -> None:
        """Have the job of ``row`` registered.

        Raises:
            ServerAway, ServerDenied: as Nomad says.
            ServerRefused: Nomad does not take the job; the text has its reason.
        """
        async with self._turn:  # dispatches come several at once, and one registration is enough
            if row.name not in self._registered:
                values = {**self.variables, **class_variables(row)}
                job = await self.nomad.parse(self.file.read_text(), variable_file(values))
                await self.nomad.register(job)
                self._registered.add(row.name)

    def forget(self, row: ExecutorClass) -> None:
        """Register the job of ``row`` again before its next dispatch."""
        self._registered.discard(row.name)


def class_variables(row: ExecutorClass) -> dict[str, Any]:
    """What the catalogue decides of a class's job."""
    return {
        "name": parent_id(row),
        "executor_class": row.name,
        "short_code": row.short_code,
        "gpus": row.gpus,
        "model": row.model,
        "memory_mib": row.memory_mib,
        "spin_up_s": row.spin_up_s,
    }


def variable_file(values: Mapping[str, Any]) -> str:
    """``values`` as the text of an HCL variable file."""
    return "".join(f"{name} = {_hcl(value)}\n" for name, value in values.items())


def holder_job_file(configured: Path | None) -> Path:
    """The job file: the configured one, else the one that comes with Horde.

    Raises:
        SettingsWrong: it is not there.
    """
    shipped = [Path(horde_agents.__file__).parents[1], Path(sys.prefix, "share", "horde")]
    places = [configured] if configured else [folder / "nomad_jobs" / _NAME for folder in shipped]
    for place in places:
        if place.is_file():
            return place
    raise SettingsWrong(f"Setting 'holder_job_file': {places[-1]} is no file; name the holders' job file.")


def _hcl(value: Any) -> str:  # noqa: ANN401  (strings, numbers, and maps of them)
    """JSON is HCL but for its templates, which no value of ours means."""
    return json.dumps(value).replace("${", "$${").replace("%{", "%%{")
