"""The knobs in force: polls a signed document, applies higher versions, keeps the last good one.

A document that is refused changes nothing; neither does a source that is away.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

import aiohttp

from horde_agents.agents.validator.metrics import Metrics
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.protocol.signed_configuration import (
    MOST_BYTES,
    ConfigurationRefused,
    SignedConfiguration,
    check_signature,
    read_knobs,
    read_signed,
)
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.configuration import Configuration
from horde_agents.store import configurations
from horde_agents.store.configurations import StoredConfiguration
from horde_agents.store.engine import Store

#: Seconds a server may take to send the document.
_FETCH_S: Final = 10.0

Listener: TypeAlias = Callable[[Configuration], None]

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the document is (a path or an http address), who may sign it, and how often to look."""

    address: str | None
    signers: frozenset[str]
    poll_s: float


@dataclass(slots=True)
class LiveConfiguration:
    """The one owner of the dynamic configuration; ``trouble`` is why the newest document does not apply."""

    source: Source
    store: Store
    http: aiohttp.ClientSession
    metrics: Metrics
    trouble: str = ""
    _now: Configuration = field(default_factory=Configuration)
    _text: str = ""
    _listeners: list[Listener] = field(default_factory=list)

    @property
    def now(self) -> Configuration:
        """The configuration in force."""
        return self._now

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of every change from now on."""
        self._listeners.append(listener)

    def replace(self, configuration: Configuration) -> None:
        """Put another configuration in force and tell everyone."""
        self._now = configuration
        self.metrics.configuration_version.set(configuration.version)
        for listener in self._listeners:
            listener(configuration)

    async def load(self) -> None:
        """Take up the highest stored version whose signatory is still trusted."""
        async with self.store.reading() as connection:
            kept = await configurations.newest(connection)
        for stored in kept:
            try:
                check_signature(stored.signed_text, stored.signatory, stored.signature, self.source.signers)
                configuration = read_knobs(stored.signed_text)
            except ConfigurationRefused as error:
                _log.warning("a stored configuration is left out", version=stored.version, why=str(error))
                continue
            self._text = stored.signed_text
            self.replace(configuration)
            return

    async def serve(self) -> NoReturn:
        """Look for a new document for ever."""
        while True:
            await self.look()
            await asyncio.sleep(self.source.poll_s)

    async def look(self) -> None:
        """Look once; whatever is wrong with the document is logged and counted."""
        if self.source.address is None:
            return
        try:
            await self.take(await self._fetched(self.source.address))
            self.trouble = ""
        except ConfigurationRefused as error:
            self.metrics.configuration_refusals.inc()
            if str(error) != self.trouble:
                _log.error("configuration refused", why=str(error), in_force=self._now.version)
            self.trouble = str(error)

    async def take(self, document: bytes) -> None:
        """Apply a document and store it; the one in force changes nothing.

        Raises:
            ConfigurationRefused: see ``read_signed``, or its version is not a higher one.
        """
        signed = read_signed(document, self.source.signers)
        if signed.text == self._text:
            return
        await self.refuse_old(signed)
        version = signed.configuration.version
        stored = StoredConfiguration(version, signed.text, signed.signatory, signed.signature, now())
        await self.store.writer.run(lambda connection: configurations.add(connection, stored))
        self._apply(signed)

    async def refuse_old(self, signed: SignedConfiguration) -> None:
        """Versions that no longer count count here: what was replaced once stays replaced.

        Raises:
            ConfigurationRefused: the version is not above all that were ever applied.
        """
        async with self.store.reading() as connection:
            kept = await configurations.newest(connection, 1)
        version, highest = signed.configuration.version, kept[0].version if kept else 0
        if version <= highest:
            raise ConfigurationRefused(
                f"Version {version} is not above {highest}, the highest applied; count the version up."
            )

    def _apply(self, signed: SignedConfiguration) -> None:
        changed = changes(self._now, signed.configuration)
        self._text = signed.text
        self.replace(signed.configuration)
        _log.info(
            "configuration applied",
            version=signed.configuration.version,
            signatory=signed.signatory,
            changed=changed,
        )

    async def _fetched(self, address: str) -> bytes:
        if address.startswith(("http://", "https://")):
            return await self._downloaded(address)
        return await asyncio.to_thread(_file_bytes, Path(address))

    async def _downloaded(self, address: str) -> bytes:
        limit = aiohttp.ClientTimeout(total=_FETCH_S)
        try:
            async with self.http.get(address, timeout=limit) as response:
                if not response.ok:
                    raise ConfigurationRefused(f"{address} answers {response.status}.")
                return await _bounded(response.content)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ConfigurationRefused(f"{address} does not answer: {error!r:.200}") from error


def source_of(settings: ValidatorSettings) -> Source:
    """As the operator has set it."""
    signers = frozenset(settings.configuration_signers)
    return Source(settings.configuration_source, signers, settings.configuration_poll_s)


def changes(old: Configuration, new: Configuration) -> list[str]:
    """The names of knobs that differ."""
    return [name for name in Configuration.model_fields if getattr(old, name) != getattr(new, name)]


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """At most one byte more than a document may have."""
    body = bytearray()
    while len(body) <= MOST_BYTES and (part := await content.read(MOST_BYTES + 1 - len(body))):
        body += part
    return bytes(body)


def _file_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ConfigurationRefused(f"{path} is no file; check the setting configuration_source.")
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationRefused(f"{path} cannot be read: {error.strerror}.") from error
