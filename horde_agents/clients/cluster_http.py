"""HTTP to the servers of a cluster, Nomad's or Consul's: one that does not answer is followed by the next."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp

from horde_agents.clients.cluster_tls import ClusterTrust
from horde_agents.clients.token_file import TokenFile

_CONNECT_S: Final = 3.0
#: Longer than servers hold a request while they elect a leader.
_ANSWER_S: Final = 10.0
#: As long as that when there is another server to ask.
_ANSWER_BEFORE_NEXT_S: Final = 5.0
_SHOWN: Final = 300
#: What a 500 says that is an outage; with any other a server refuses what was asked. "rpc error" alone says
#: nothing: followers put it before what their leader refuses, too.
_OUTAGES: Final = (
    "no cluster leader",
    "no leader",
    "not the leader",
    "leadership",
    "no known",
    "no servers",
    "failed to get conn",
    "getting client",
    "connection",
    "dial tcp",
    "broken pipe",
    "eof",
    "timeout",
    "timed out",
    "deadline exceeded",
    "shutdown",
    "shutting down",
)


class ServerAway(Exception):
    """No server answers, or none has a leader; what became of a write is not known."""


class ServerDenied(Exception):
    """The token may not do this, or is not valid any more."""


class ServerRefused(Exception):
    """The server says no to what was asked; the text has its reason."""


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Where the servers are and how to speak with them; ``urls`` are tried in order."""

    urls: tuple[str, ...]
    token_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply; ``body`` is JSON read, or text where it is none.

    ``repeated`` says that the request may have been served once before, without an answer.
    """

    status: int
    headers: Mapping[str, str]
    body: Any
    repeated: bool = False


@dataclass(slots=True)
class ClusterHttp:
    """A client of one cluster; ``close`` it. ``product`` names the server in errors."""

    product: str
    address: ClusterAddress
    token_header: str
    _session: aiohttp.ClientSession | None = None
    _token: TokenFile = field(init=False)
    _trust: ClusterTrust = field(init=False)
    _first: int = 0

    def __post_init__(self) -> None:
        address = self.address
        self._token = TokenFile(address.token_file)
        self._trust = ClusterTrust(address.ca_file, address.certificate_file, address.key_file)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        wait_s: float = 0.0,
        accept: tuple[int, ...] = (200,),
        as_text: bool = False,
        **request: Any,  # noqa: ANN401  (params, json or data, as aiohttp takes them)
    ) -> Answer:
        """Ask the first server that answers.

        ``wait_s`` is how long the server may hold a blocking query; ``accept`` are the answers that are
        the caller's to judge, ``as_text`` leaves their JSON unread.

        Raises:
            ServerAway: none answers, or the answer is a server's fault.
            ServerDenied: 401 or 403.
            ServerRefused: any other answer.
        """
        # a redirection would take the token to wherever it points
        request |= {"headers": self.headers(), "allow_redirects": False}
        urls = self._in_turn()
        away, repeated = ServerAway(f"No address of {self.product} is set."), False
        for url in urls:
            limit_s = _ANSWER_S if url == urls[-1] else _ANSWER_BEFORE_NEXT_S
            # servers add up to a sixteenth to a wait
            request["timeout"] = aiohttp.ClientTimeout(limit_s + wait_s * 17 / 16, sock_connect=_CONNECT_S)
            try:
                answer = await self._exchange(method, url + path, as_text=as_text, **request)
                return self._judged(replace(answer, repeated=answer.repeated or repeated), url, accept)
            except ServerAway as error:
                away, repeated = error, True
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                said = str(error) or type(error).__name__
                away = ServerAway(f"{self.product} at {url} does not answer: {said:.300}. Does it run there?")
                repeated = repeated or not isinstance(error, aiohttp.ClientConnectorError)
            if self.url() == url:  # else another request has found out already
                self.next_url()
        raise away

    def headers(self) -> dict[str, str]:
        """The token's header, if there is a token.

        Raises:
            ServerDenied: the token file cannot be read.
        """
        try:
            token = self._token.read()
        except (OSError, ValueError) as error:
            raise ServerDenied(f"The token file of {self.product} cannot be read: {error}.") from error
        return {self.token_header: token} if token else {}

    def session(self) -> aiohttp.ClientSession:
        """The connections to it, also for a stream of the caller's own.

        Raises:
            ServerDenied: the certificates cannot be read.
        """
        try:
            trust = self._trust.context()
        except ValueError as error:
            raise ServerDenied(f"{self.product} cannot be spoken to: {error}.") from error
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=trust, limit=0)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    def url(self) -> str:
        """The server that answered last."""
        return self.address.urls[self._first % len(self.address.urls)]

    def next_url(self) -> None:
        """The present server failed: the next is first from now on."""
        self._first = (self._first + 1) % len(self.address.urls)

    async def close(self) -> None:
        """End the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)

    def _in_turn(self) -> tuple[str, ...]:
        urls, first = self.address.urls, self._first
        return urls[first:] + urls[:first]

    async def _exchange(self, method: str, url: str, *, as_text: bool, **request: Any) -> Answer:  # noqa: ANN401
        sent = 0

        async def counted(asked: aiohttp.ClientRequest, carry: aiohttp.ClientHandlerType) -> Any:  # noqa: ANN401
            nonlocal sent
            sent += 1  # aiohttp sends a PUT again by itself when its connection breaks
            return await carry(asked)

        async with self.session().request(method, url, middlewares=(counted,), **request) as reply:
            body = await reply.text(errors="replace") if as_text else await _body(reply)
            return Answer(reply.status, reply.headers, body, sent > 1)

    def _judged(self, answer: Answer, url: str, accept: tuple[int, ...]) -> Answer:
        if answer.status in accept:
            return answer
        said = f"{self.product} at {url} says {answer.status}: {_shown(answer)}"
        if answer.status in {401, 403}:
            raise ServerDenied(f"{said}. Check the token and its policy.")
        if is_outage(answer.status, str(answer.body)):
            raise ServerAway(said)
        raise ServerRefused(said)


def is_outage(status: int, text: str) -> bool:
    """Whether an answer says that the servers cannot answer now, and not that they will not."""
    said = text.lower()
    return status in {429, 502, 503, 504} or (status == 500 and any(words in said for words in _OUTAGES))


def _shown(answer: Answer) -> str:
    return str(answer.body).strip()[:_SHOWN]


async def _body(reply: aiohttp.ClientResponse) -> Any:  # noqa: ANN401  (whatever JSON the server sends)
    text = await reply.text(errors="replace")
    return json.loads(text) if "json" in reply.content_type else text
