"""Nomad for a horde: servers, token and rights, gpu nodes, a place for each class, and its holders."""

import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from horde_agents.agents.miner.nomad.holder_jobs import class_variables, holder_job_file, variable_file
from horde_agents.agents.miner.nomad.picture import Picture, room_for, take_picture, wanted_counts
from horde_agents.agents.miner.nomad.pool import holder_variables, nomad_address
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.cli.checks.finding import Finding, fine, noted, wrong
from horde_agents.cli.checks.servers import NOMAD, server_findings, token_finding
from horde_agents.cli.checks.versions import cluster_finding
from horde_agents.clients.cluster_http import ClusterHttp, ServerAway, ServerDenied, ServerRefused
from horde_agents.clients.nomad import Nomad
from horde_agents.clients.nomad_rows import GpuNode
from horde_agents.jobs.classes import CATALOGUE, ExecutorClass
from horde_agents.placement.holders import ALL, Holder
from horde_agents.placement.records import HordeState
from horde_agents.placement.standings import MEANINGS, Standing

_FAULTS: Final = (ServerAway, ServerDenied, ServerRefused)
#: No job has this name: what Nomad answers to its dispatch tells whether the token may dispatch.
_NO_JOB: Final = "horde-doctor-asks-for-the-right-to-dispatch"
#: What Nomad 1.11.3 says, with a 500, to who asks for a plan by a workload identity. It takes miners' jobs.
_NO_PLAN_FOR_IDENTITIES: Final = "UUID must be 36 characters"
_PRESENT: Final = frozenset({Standing.STARTING, Standing.RUNNING, Standing.UNKNOWN})
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class _Asked:
    """Nomad, by the client of the miner and by plain calls."""

    settings: MinerSettings
    nomad: Nomad
    http: ClusterHttp

    async def get(self, path: str, **params: str) -> Any:  # noqa: ANN401  (JSON)
        return (await self.http.ask("GET", path, params=params)).body


async def nomad_findings(settings: MinerSettings, state: HordeState) -> AsyncIterator[Finding]:
    """Everything about it; ``state`` has the operator's wishes."""
    address = nomad_address(settings)
    servers = await server_findings(NOMAD, address)
    for finding in servers:
        yield finding
    if not any(finding.fine for finding in servers):
        return
    if (token := await token_finding(NOMAD, address)) is not None:
        yield token
        if not token.fine:
            return
    asked = _Asked(
        settings,
        Nomad(address, settings.nomad_namespace),
        ClusterHttp(NOMAD.name, address, NOMAD.token_header),
    )
    try:
        async for finding in _cluster(asked, state):
            yield finding
    except _FAULTS as error:
        yield wrong("Nomad", f"{error} A miner's rights: nomad_jobs/policies, docs/operate/nomad-jobs.md")
    finally:
        await asked.nomad.close()
        await asked.http.close()


async def _cluster(asked: _Asked, state: HordeState) -> AsyncIterator[Finding]:
    settings = asked.settings
    rows = [row for row in await asked.get("/v1/nodes") if row["NodePool"] == settings.nomad_node_pool]
    members = (await asked.get("/v1/agent/members"))["Members"]
    versions = [(f"server {each['Name']}", each["Tags"].get("build", "")) for each in members]
    versions += [(f"node {row['Name']}", row["Version"]) for row in rows if row["Status"] == "ready"]
    if (finding := cluster_finding("nomad", versions)) is not None:
        yield finding
    nodes = await asked.nomad.nodes(settings.nomad_node_pool)
    found = [*node_findings(settings.nomad_node_pool, nodes), *_drivers(rows), *_secrets(settings, rows)]
    found += plugin_findings(nodes, settings.slots)
    for name in settings.slots:
        found += [class_finding(name, nodes), *await _job_findings(asked, name)]
    for finding in found:
        yield finding
    picture = await take_picture(asked.nomad, settings.horde, settings.nomad_node_pool, CATALOGUE)
    async for finding in _holders(asked, picture, state):
        yield finding


def node_findings(pool: str, nodes: Sequence[GpuNode]) -> Iterator[Finding]:
    """Whether each gpu node takes holders, and with which devices."""
    if not nodes:
        yield wrong(
            "gpu nodes", f"node pool {pool} has no node; start Nomad clients with node_pool = {pool!r}"
        )
    for node in sorted(nodes, key=lambda each: each.name):
        check = f"gpu node {node.name}"
        devices = _counted(device.model for device in node.devices if device.healthy) or "no device"
        broken = [device.device_id for device in node.devices if not device.healthy]
        if node.status != "ready":
            yield wrong(check, f"Nomad calls it {node.status}; see Nomad's log on it, and its network")
        elif broken:
            yield wrong(check, f"ready with {devices}; not healthy: {', '.join(broken)}. Mend or remove them")
        elif node.draining:
            yield noted(check, f"it is drained; back with: nomad node drain -disable -yes {node.node_id}")
        elif not node.eligible:
            yield noted(
                check, f"it takes no new holders; back with: nomad node eligibility -enable {node.node_id}"
            )
        else:
            yield fine(check, f"ready with {devices}")


def plugin_findings(nodes: Sequence[GpuNode], slots: Iterable[str]) -> Iterator[Finding]:
    """Whether each ready node's device plugin offers GPUs, where all classes wanted need some."""
    rows = [CATALOGUE.get(name) for name in slots]
    ready = [node for node in nodes if node.status == "ready"]
    if not ready or not rows or not all(row is not None and row.gpus for row in rows):
        return
    silent = sorted(node.name for node in ready if not node.devices)
    if silent:
        remedy = "on it, see: nvidia-smi, journalctl -u nomad; its plugin is nomad_device_plugin_file"
        yield wrong("device plugin", f"it offers no GPU on {', '.join(silent)}; {remedy}")
    else:
        count = sum(len(node.devices) for node in ready)
        yield fine("device plugin", f"it offers {count} on {len(ready)} nodes")


def class_finding(name: str, nodes: Sequence[GpuNode]) -> Finding:
    """Whether some node can serve a class at all; else what is missing."""
    row = CATALOGUE.get(name)
    if row is None:
        return wrong(
            f"class {name}", "no such executor class; name it in 'class_file' or correct setting 'slots'"
        )
    room = room_for(row, nodes)
    if room:
        return fine(f"class {name}", f"the ready nodes have room for {room}")
    if not row.gpus:
        return wrong(f"class {name}", "no node is ready to serve it")
    return wrong(f"class {name}", _what_is_missing(row, nodes))


def _what_is_missing(row: ExecutorClass, nodes: Sequence[GpuNode]) -> str:
    devices = [(node, device) for node in nodes if node.status == "ready" for device in node.devices]
    fitting = Counter(
        node.name for node, device in devices if device.healthy and row.fits(device.model, device.memory_mib)
    )
    model = f" of a model like {row.model!r}" if row.model else ""
    needs = f"a holder needs {row.gpus} GPU(s){model} with {row.memory_mib} MiB or more on one eligible node"
    if fitting:
        name, most = fitting.most_common(1)[0]
        return f"{needs}; the most there are is {most}, on {name}. Add devices, or take it out of 'slots'"
    seen = _counted(f"{device.model} {device.memory_mib} MiB" for _, device in devices) or "no device"
    return (
        f"no node can serve it: {needs}; ready nodes have {seen}. Add such a node, or take it out of 'slots'"
    )


def _drivers(rows: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Holders are started by raw_exec, which Nomad has switched off by default."""
    for row in rows:
        driver = (row.get("Drivers") or {}).get("raw_exec") or {}
        if row["Status"] == "ready" and not driver.get("Healthy"):
            yield wrong(
                f"gpu node {row['Name']}",
                "its driver raw_exec is off; enable it in the plugin block of Nomad's configuration there",
            )


def _secrets(settings: MinerSettings, rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Strangers' jobs run on gpu nodes: the secrets of a miner do not belong there."""
    here = [row for row in rows if _is_here(row["Address"])]
    named = (settings.hotkey_file, settings.consul_token_file, settings.nomad_token_file)
    files = [str(file) for file in named if file is not None and file.exists()]
    if not here or not files:
        return
    names = ", ".join(sorted(row["Name"] for row in here))
    said = f"this machine is gpu node {names} and has {', '.join(files)}, beside the jobs of strangers"
    if len(here) == len(rows):
        yield noted("secrets", f"{said}: a horde of one machine")
    else:
        yield wrong("secrets", f"{said}. Run the miner on a machine that is no gpu node")


def _is_here(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


async def _job_findings(asked: _Asked, name: str) -> list[Finding]:
    """Have Nomad judge the class's job and our right to run it, without running it."""
    row = CATALOGUE.get(name)
    if row is None:
        return []
    settings = asked.settings
    variables = variable_file({**holder_variables(settings), **class_variables(row)})
    in_namespace = {"namespace": settings.nomad_namespace}
    try:
        job = await asked.nomad.parse(holder_job_file(settings.holder_job_file).read_text(), variables)
    except ServerRefused as error:
        return [wrong(f"class {name}", f"Nomad cannot read its holders' job: {error}")]
    job["Namespace"] = settings.nomad_namespace
    try:
        await asked.http.ask("POST", f"/v1/job/{job['ID']}/plan", params=in_namespace, json={"Job": job})
    except ServerRefused as error:
        if _NO_PLAN_FOR_IDENTITIES not in str(error):
            return [wrong(f"class {name}", f"Nomad refuses its holders' job: {error}")]
    known = await asked.nomad.job(job["ID"])
    if known is not None and known["Stop"]:
        said = f"somebody has stopped {job['ID']} in Nomad, so no holder that ends is replaced"
        return [wrong(f"class {name}", f"{said}; start it: nomad job start {job['ID']}")]
    with suppress(ServerRefused):  # there is no such job, and we may dispatch
        await asked.http.ask("POST", f"/v1/job/{_NO_JOB}/dispatch", params=in_namespace, json={"Meta": {}})
    return []


async def _holders(asked: _Asked, picture: Picture, state: HordeState) -> AsyncIterator[Finding]:
    warm = {
        name: count
        for name, count in asked.settings.slots.items()
        if name in CATALOGUE and CATALOGUE[name].warm
    }
    wishes = {name: wish.holders for name, wish in state.pool_wishes.items()}
    wanted = wanted_counts(warm, wishes, picture.nodes, CATALOGUE, picture.holders)
    for name, count in wanted.items():
        holders = [holder for holder in picture.holders if holder.executor_class == name]
        present = sum(holder.standing in _PRESENT for holder in holders)
        why = [] if present >= count else [why async for why in _why_missing(asked.nomad, holders)]
        report = state.pool_reports.get(name)
        if not why and report is not None and report.says:
            why = [report.says]
        all_of_it = ", all that the nodes hold" if warm[name] == ALL and wishes.get(name) is None else ""
        wish = f", as an operator wishes (horde pool refill {name})" if wishes.get(name) is not None else ""
        says = f"{present} of {count} run{all_of_it}{wish}"
        if present < count:
            missing = "; ".join(why) or "the keeper has not dispatched the others; its log says why"
            yield wrong(f"holders {name}", f"{says}. Missing: {missing}")
        elif present > count:
            yield noted(f"holders {name}", f"{says}; those too many end after their jobs")
        else:
            yield fine(f"holders {name}", says)


async def _why_missing(nomad: Nomad, holders: Sequence[Holder]) -> AsyncIterator[str]:
    """What keeps holders from being there: first those that wait, then how the others ended last."""
    waiting = [holder for holder in holders if holder.standing is Standing.SHORT]
    for holder in waiting[:_SHOWN]:
        why = await nomad.why_blocked(holder.nomad_job_id) or MEANINGS[holder.standing].says
        yield f"{holder.nomad_job_id} waits in Nomad: {why}"
    if len(waiting) > _SHOWN:
        yield f"{len(waiting) - _SHOWN} more wait"
    newest = {}
    for holder in sorted(holders, key=lambda each: each.generation):
        newest[holder.index] = holder
    failed = [holder for holder in newest.values() if holder.standing in {Standing.FAILED, Standing.LOST}]
    for holder in failed[:_SHOWN]:
        yield f"{MEANINGS[holder.standing].says} (nomad alloc logs -stderr {holder.allocation_id})"


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(names).items()))
