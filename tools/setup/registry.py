"""A local image registry, so that images have digests and are really pulled. Its data is in the cache."""

import http.client
import json

from tools.setup import server
from tools.setup.places import CACHE, REGISTRY, REGISTRY_PORT
from tools.setup.progress import SetupFailed, step

NAME = "registry"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_ANSWER_S = 5.0


def ensure_registry() -> None:
    """Use the registry that answers on its loopback port, or start one.

    Raises:
        SetupFailed: another program has the port, or the registry does not come up.
    """
    if registry_answers():
        return
    config = CACHE / "registry" / "config.yml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(_config())
    with step("image registry"):
        server.start(NAME, ["docker-registry", "serve", str(config)], registry_answers)


def registry_answers() -> bool:
    """True when a registry speaks its protocol on the port; False when nobody is there.

    Raises:
        SetupFailed: something else answers.
    """
    try:
        status, _ = _ask("GET", "/v2/")
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    except (OSError, http.client.HTTPException) as odd:
        raise SetupFailed(port_taken(REGISTRY_PORT, str(odd))) from odd
    if status != 200:
        raise SetupFailed(port_taken(REGISTRY_PORT, f"HTTP {status}"))
    return True


def port_taken(port: int, said: str) -> str:
    """What to tell a person whose port belongs to another program."""
    return (
        f"127.0.0.1:{port} is wanted for the local image registry, and another program answers there "
        f"({said}). Choose another port: SETUP_REGISTRY_PORT=5002 make …"
    )


def digest_in_registry(repository: str, tag: str) -> str | None:
    """The digest under which the registry holds ``repository:tag``, if it does."""
    status, headers = _ask("HEAD", f"/v2/{repository}/manifests/{tag}")
    return headers.get("Docker-Content-Digest") if status == 200 else None


def stop_registry() -> bool:
    """End the registry if set-up started it; its images stay in the cache."""
    return server.stop(NAME, "docker-registry")


def _ask(method: str, path: str) -> tuple[int, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(REGISTRY, timeout=_ANSWER_S)
    try:
        connection.request(method, path, headers={"Accept": _MANIFEST})
        reply = connection.getresponse()
        reply.read()
        return reply.status, reply.msg
    finally:
        connection.close()


def _config() -> str:
    """The registry reads YAML; JSON is YAML, and needs no quoting rules of our own."""
    return json.dumps(
        {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(CACHE / "registry" / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": REGISTRY},
        },
        indent=2,
    )
