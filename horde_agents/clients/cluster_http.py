"""HTTP to the servers of a cluster, Nomad's or Consul's: one that does not answer is followed by the next."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from horde_agents.clients.token_file import TokenFile

_CONNECT_S: Final = 3.0
_ANSWER_S: Final = 15.0
_SHOWN: Final = 300
#: How a 500 begins that is an outage; with any other a server refuses what was asked.
_OUTAGES: Final = ("no cluster leader", "leadership lost", "rpc error", "connection", "eof", "timeout")


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
    """A reply; ``body`` is JSON read, or text where it is none."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(slots=True)
class ClusterHttp:
    """A client of one cluster; ``close`` it. ``product`` names the server in errors."""

    product: str
    address: ClusterAddress
    token_header: str
    _session: aiohttp.ClientSession | None = None
    _token: TokenFile = field(init=False)
    _first: int = 0

    def __post_init__(self) -> None:
        self._token = TokenFile(self.address.token_file)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        wait_s: float = 0.0,
        accept: tuple[int, ...] = (200,),
        **request: Any,  # noqa: ANN401  (params, json or data, as aiohttp takes them)
    ) -> Answer:
        """Ask the first server that answers.

        ``wait_s`` is how long the server may hold a blocking query; ``accept`` are the answers that are
        the caller's to judge.

        Raises:
            ServerAway: none answers, or the answer is a server's fault.
            ServerDenied: 401 or 403.
            ServerRefused: any other answer.
        """
        # servers add up to a sixteenth to a wait
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S + wait_s * 17 / 16, sock_connect=_CONNECT_S)
        options = {"headers": self.headers(), "timeout": timeout, **request}
        away = ServerAway(f"No address of {self.product} is set.")
        for _ in self.address.urls:
            url = self.url()
            try:
                async with self.session().request(method, url + path, **options) as reply:
                    return self._judged(
                        Answer(reply.status, dict(reply.headers), await _body(reply)), url, accept
                    )
            except ServerAway as error:
                away = error
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                said = str(error) or type(error).__name__
                away = ServerAway(f"{self.product} at {url} does not answer: {said:.300}. Does it run there?")
            self.next_url()
        raise away

    def headers(self) -> dict[str, str]:
        """The token's header, if there is a token.

        Raises:
            ServerDenied: the token file cannot be read.
        """
        try:
            token = self._token.read()
        except OSError as error:
            raise ServerDenied(f"The token file of {self.product} cannot be read: {error}.") from error
        return {self.token_header: token} if token else {}

    def session(self) -> aiohttp.ClientSession:
        """The connections to it, also for a stream of the caller's own."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._trust(), limit=0)
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
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)

    def _trust(self) -> ssl.SSLContext:
        address = self.address
        context = ssl.create_default_context(cafile=str(address.ca_file) if address.ca_file else None)
        if address.certificate_file is not None:
            context.load_cert_chain(address.certificate_file, address.key_file)
        return context

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
    if "json" in reply.content_type:
        return await reply.json()
    return await reply.text()
