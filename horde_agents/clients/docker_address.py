"""Where the Docker daemon is, and how it is spoken to: read from the environment as Docker's SDK reads it.

aiodocker has rules of its own, and a node's questions to registries go through the SDK: by two rules, the two
might speak to different daemons, or one of them in the clear.
"""

import ssl
from typing import Final

from aiodocker import Docker
from aiohttp import ClientTimeout
from docker.errors import DockerException
from docker.tls import TLSConfig
from docker.utils.utils import kwargs_from_env, parse_host

from horde_agents.clients.docker_faults import EngineAway
from horde_agents.clients.docker_registry import API_VERSION

_UNIX: Final = "http+unix:"
_HTTP: Final = ("http:", "https:")


def connect(timeout: ClientTimeout) -> Docker:
    """A client of the daemon; nothing is asked yet.

    Raises:
        EngineAway: the environment names none.
    """
    try:
        named = kwargs_from_env()
        host, tls = named.get("base_url", ""), named.get("tls")
        url = parse_host(host, tls=tls is not None)
        context = _context(tls) if tls and not url.startswith(_UNIX) else None
    except (DockerException, OSError, ValueError) as error:
        raise EngineAway(f"The variables DOCKER_… of the environment name no daemon: {error}") from error
    if url.startswith(_UNIX):
        url = url.removeprefix("http+")
    elif not url.startswith(_HTTP):
        raise EngineAway(f"DOCKER_HOST is {host!r}; use unix:///path or tcp://host:port.")
    return Docker(url, api_version=f"v{API_VERSION}", timeout=timeout, ssl_context=context)


def _context(tls: TLSConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_cert if tls.verify else None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(*tls.cert)
    return context
