"""Nomad as the horde uses it: job specs, dispatched holders, allocations, gpu nodes, the event stream.

Lists and registrations go through python-nomad, in threads. Over HTTP of our own go the proven gaps
(bundle note 5.2): a dispatch with its idempotency token, and the event stream.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
import requests  # noqa: TID251  (python-nomad's, whose connections are ours to close)
from nomad.api import allocation as nomad_allocation
from nomad.api.allocations import Allocations
from nomad.api.base import Requester
from nomad.api.exceptions import (
    BaseNomadException,
    InvalidParameters,
    URLNotAuthorizedNomadException,
    URLNotFoundNomadException,
)
from nomad.api.job import Job
from nomad.api.jobs import Jobs
from nomad.api.nodes import Nodes

from horde_agents.clients.cluster_http import (
    ClusterAddress,
    ClusterHttp,
    ServerAway,
    ServerDenied,
    ServerRefused,
    is_outage,
)
from horde_agents.clients.nomad_rows import (
    Allocation,
    Child,
    GpuNode,
    allocation_of,
    child_of,
    node_of,
    reasons_in,
)
from horde_agents.runtime.logs import get_logger

T = TypeVar("T")
A = TypeVar("A", bound=Requester)

_CONNECT_S: Final = 3.0
_ANSWER_S: Final = 15.0
#: The share of that which a server gets when there is another to ask.
_BEFORE_NEXT: Final = 1 / 3
#: Nomad sends a heartbeat into the event stream every 30 s (bundle note 4.5).
_STREAM_SILENT_S: Final = 45.0
_STREAM_AGAIN_S: Final = 1.0
_EVENT_TOPICS: Final = ("Allocation:*", "Evaluation:*", "Node:*")
#: What a heartbeat of the event stream consists of.
_HEARTBEAT: Final = b"{} \r\n"
_SHOWN: Final = 300
_log = get_logger(__name__)


@dataclass(slots=True)
class Nomad:
    """A client of one Nomad cluster and namespace; ``close`` it.

    Every method may raise ``ServerAway``, ``ServerDenied`` or ``ServerRefused``. A server has ``answer_s``
    for a list; an event stream that is silent for ``stream_silent_s`` is begun anew.
    """

    address: ClusterAddress
    namespace: str = "default"
    answer_s: float = _ANSWER_S
    stream_silent_s: float = _STREAM_SILENT_S
    _http: ClusterHttp = field(init=False)
    _requests: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self._http = ClusterHttp("Nomad", self.address, "X-Nomad-Token")
        self._requests.trust_env = False  # neither a proxy nor a netrc of the environment

    async def close(self) -> None:
        """End the connections."""
        self._requests.close()
        await self._http.close()

    async def parse(self, hcl: str, variables: str) -> dict[str, Any]:
        """A job file as Nomad reads it; ``variables`` is the text of a variable file."""
        body = {"JobHCL": hcl, "Variables": variables, "Canonicalize": True}
        return await self._ask(
            Jobs, lambda jobs: dict(jobs.request("parse", json=body, method="post").json())
        )

    async def register(self, job: Mapping[str, Any]) -> None:
        """Make ``job`` known, or change it."""
        await self._ask(Jobs, lambda jobs: jobs.register_job({"Job": job}))

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """A job's specification and state; ``None`` when there is none of that id."""
        try:
            return await self._ask(Job, lambda job: dict(job.get_job(_escaped(job_id))))
        except ServerRefused as error:
            if isinstance(error.__cause__, URLNotFoundNomadException):
                return None
            raise

    async def stop(self, job_id: str) -> None:
        """End a job; its record stays, and with it the idempotency token of its dispatch."""
        await self._ask(Job, lambda job: job.deregister_job(_escaped(job_id)))

    async def children(self, prefix: str) -> list[Child]:
        """Dispatched jobs whose ids begin with ``prefix``."""
        return await self._ask(
            Jobs,
            lambda jobs: [
                child_of(row) for row in jobs.get_jobs(prefix=prefix, meta=True) if row.get("ParentID")
            ],
        )

    async def allocations(self, prefix: str) -> list[Allocation]:
        """Allocations of jobs whose ids begin with ``prefix``."""
        wanted = f'JobID matches "^{prefix}"'
        return await self._ask(
            Allocations,
            lambda them: [
                allocation_of(row)
                for row in them.get_allocations(filter_=wanted, resources=True, task_states=True)
            ],
        )

    async def allocation(self, allocation_id: str) -> Allocation | None:
        """One allocation; ``None`` when there is none of that id."""
        try:
            return await self._ask(
                nomad_allocation.Allocation,
                lambda one: allocation_of(one.get_allocation(_escaped(allocation_id))),
            )
        except ServerRefused as error:
            if isinstance(error.__cause__, URLNotFoundNomadException):
                return None
            raise

    async def allocations_of(self, job_id: str) -> list[Allocation]:
        """The allocations of one job, without their devices, which Nomad does not list here."""
        return await self._ask(
            Job, lambda job: [allocation_of(row) for row in job.get_allocations(_escaped(job_id))]
        )

    async def nodes(self, node_pool: str) -> list[GpuNode]:
        """The machines of a node pool, with their devices."""
        return await self._ask(
            Nodes,
            lambda nodes: [
                node_of(row) for row in nodes.get_nodes(resources=True) if row.get("NodePool") == node_pool
            ],
        )

    async def why_blocked(self, job_id: str) -> str | None:
        """Why Nomad has no place for a job; ``None`` when it is not waiting for one."""
        return await self._ask(Job, lambda job: _why_blocked(job.get_evaluations(_escaped(job_id))))

    async def dispatch(self, parent_id: str, token: str, meta: Mapping[str, str], prefix: str = "") -> Child:
        """Start a child of a parameterized job. Repeated with the same ``token``, it starts no second one.

        ``prefix`` begins the part of the child's id that follows ``dispatch-``.
        """
        answer = await self._http.ask(
            "POST",
            f"/v1/job/{_escaped(parent_id)}/dispatch",
            params={"idempotency_token": token, "namespace": self.namespace},
            json={"Meta": dict(meta), "IdPrefixTemplate": prefix},
        )
        with _understood():
            job_id = str(answer.body["DispatchedJobID"])
        job = await self.job(job_id)
        if job is None:  # two dispatches met, and the answer names the one that was not stored (bundle 4.1)
            job = await self._dispatched_with(parent_id, token, meta)
        with _understood():
            return Child(job["ID"], parent_id, job["Status"], bool(job["Stop"]), job.get("Meta") or {})

    async def events(self) -> AsyncGenerator[None, None]:
        """Yields after every batch of events, and whenever the stream was begun anew; it raises nothing.

        Nothing is said of what happened: after a gap only Nomad's lists tell, so the reader asks these.
        """
        trouble = ""
        while True:
            try:
                async for _ in self._stream():
                    trouble = ""
                    yield None
            except (aiohttp.ClientError, OSError, ServerDenied) as error:
                if not trouble:
                    trouble = str(error) or type(error).__name__
                    _log.warning("Nomad's events are not heard, asking again", why=trouble)
                self._http.next_url()
            await asyncio.sleep(_STREAM_AGAIN_S)

    async def signing_keys(self) -> list[dict[str, Any]]:
        """The public keys of workload identities, as JSON web keys."""
        body = (await self._http.ask("GET", "/.well-known/jwks.json")).body
        if not isinstance(body, dict) or not isinstance(body.get("keys"), list):
            raise ServerRefused(f"Nomad's keys are no list: {body!s:.100}. Does Nomad answer there?")
        return list(body["keys"])

    async def _dispatched_with(self, parent_id: str, token: str, meta: Mapping[str, str]) -> dict[str, Any]:
        for child in await self.children(f"{parent_id}/dispatch-"):
            if child.meta != meta:
                continue
            job = await self.job(child.job_id)
            if job is not None and job.get("DispatchIdempotencyToken") == token:
                return job
        raise ServerAway(f"Nomad has no child of {parent_id} with token {token} after its dispatch.")

    async def _stream(self) -> AsyncIterator[None]:
        params = [("topic", topic) for topic in _EVENT_TOPICS] + [("namespace", self.namespace)]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=self.stream_silent_s)
        async with self._http.session().get(
            f"{self._http.url()}/v1/event/stream",
            params=params,
            headers=self._http.headers(),
            timeout=timeout,
            raise_for_status=True,
        ) as reply:
            yield None
            async for chunk in reply.content.iter_any():  # a line may be longer than memory is worth
                if chunk.strip(_HEARTBEAT):
                    yield None

    async def _ask(self, kind: type[A], question: Callable[[A], T]) -> T:
        """Put ``question`` to the first server that answers."""
        away = ServerAway("No address of Nomad is set.")
        for left in reversed(range(len(self.address.urls))):
            url = self._http.url()
            try:
                with _understood():
                    return await asyncio.to_thread(question, self._api(kind, url, is_last=left == 0))
            except (BaseNomadException, InvalidParameters, OSError) as error:
                away = _as_ours(error, url)
            if self._http.url() == url:  # else another request has found out already
                self._http.next_url()
        raise away

    def _api(self, kind: type[A], url: str, *, is_last: bool) -> A:
        answer_s = self.answer_s if is_last else self.answer_s * _BEFORE_NEXT
        return kind(
            address=url,
            namespace=self.namespace,
            token=self._http.headers().get("X-Nomad-Token"),
            session=self._requests,
            **{"timeout": (_CONNECT_S, answer_s), **self._trust()},  # more than its annotations know
        )

    def _trust(self) -> dict[str, Any]:
        """Python-nomad checks no certificate unless it is told to (bundle note 5.2)."""
        address = self.address
        known = str(address.ca_file) if address.ca_file else True
        return {
            "verify": known,
            "cert": (str(address.certificate_file), str(address.key_file))
            if address.certificate_file
            else (),
        }


@contextmanager
def _understood() -> Iterator[None]:
    """An answer that lacks what it should have is refused as a whole: on half a list nothing may be done."""
    try:
        yield
    except (BaseNomadException, InvalidParameters, OSError):
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error!s:.100}"
        raise ServerRefused(f"Nomad's answer is none of Nomad's ({why}). Is it Nomad, and which?") from error


def _as_ours(error: BaseNomadException | InvalidParameters | OSError, url: str) -> ServerAway:
    """The outage that ``error`` is; whatever else it is, is raised."""
    if isinstance(error, InvalidParameters):
        raise ServerRefused(f"python-nomad does not ask this: {error}") from error
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        raise ServerDenied(f"The certificates for Nomad cannot be read: {error}.") from error
    reply = error.nomad_resp if isinstance(error, BaseNomadException) else error
    if not isinstance(reply, requests.Response):
        return ServerAway(f"Nomad at {url} does not answer: {str(reply)[:_SHOWN]}. Does it run there?")
    said = f"Nomad at {url} says {reply.status_code}: {reply.text.strip()[:_SHOWN]}"
    if isinstance(error, URLNotAuthorizedNomadException) or reply.status_code == 401:
        raise ServerDenied(f"{said}. Check the token and its policy.") from error
    if is_outage(reply.status_code, reply.text):
        return ServerAway(said)
    raise ServerRefused(said) from error


def _escaped(job_id: str) -> str:
    return quote(job_id, safe="")


def _why_blocked(evaluations: Iterable[Mapping[str, Any]]) -> str | None:
    for row in evaluations:
        if row["Status"] == "blocked":
            return "; ".join(reasons_in(row)) or "no node has what it needs"
    return None
