"""A cluster's servers one by one, and whether they take our token: what Consul and Nomad have in common."""

import json
from dataclasses import dataclass, replace
from typing import Final

from horde_agents.cli.checks.finding import Finding, fine, wrong
from horde_agents.clients.cluster_http import (
    ClusterAddress,
    ClusterHttp,
    ServerAway,
    ServerDenied,
    ServerRefused,
)

#: What Nomad says of tokens that it cannot use, with a 500.
_NOT_VALID: Final = ("token expired", "signed token")


@dataclass(frozen=True, slots=True)
class Product:
    """``peers`` is the command that shows who is missing when there is no leader."""

    name: str
    token_header: str
    token_file_setting: str
    peers: str


CONSUL: Final = Product("Consul", "X-Consul-Token", "consul_token_file", "consul operator raft list-peers")
NOMAD: Final = Product("Nomad", "X-Nomad-Token", "nomad_token_file", "nomad operator raft list-peers")


async def server_findings(product: Product, address: ClusterAddress) -> list[Finding]:
    """One finding a server: whether it answers and knows a leader."""
    return [await _server(product, replace(address, urls=(url,))) for url in address.urls]


async def token_finding(product: Product, address: ClusterAddress) -> Finding | None:
    """Whether the servers know the token; none where they ask for no token, or cannot be asked."""
    http = ClusterHttp(product.name, address, product.token_header)
    try:
        # 401: access control is off; 404: an identity, which is no record; 500: Nomad on an old token
        answer = await http.ask(
            "GET", "/v1/acl/token/self", accept=(200, 400, 401, 403, 404, 500), as_text=True
        )
    except ServerDenied as error:  # the file itself
        return wrong(f"{product.name} token", f"{error} Setting '{product.token_file_setting}' names it")
    except (ServerAway, ServerRefused):
        return None
    finally:
        await http.close()
    file = address.token_file
    said = str(answer.body).strip()
    if answer.status == 403 or (answer.status == 500 and any(words in said for words in _NOT_VALID)):
        if file is None:
            missing = f"setting '{product.token_file_setting}' is missing; name a file with a token in it"
            return wrong(f"{product.name} token", f"{product.name} asks for a token, and {missing}")
        return wrong(
            f"{product.name} token",
            f"{product.name} does not know the token in {file} ({said:.80}): "
            "it has expired or was deleted. Write a new one into the file; the miner reads it again at once",
        )
    if answer.status != 200 or file is None:
        return None
    until = json.loads(said).get("ExpirationTime")
    return fine(f"{product.name} token", f"valid{f' until {until}' if until else ''}, from {file}")


async def _server(product: Product, address: ClusterAddress) -> Finding:
    (url,) = address.urls
    check = f"{product.name} {url.partition('://')[2]}"
    http = ClusterHttp(product.name, replace(address, token_file=None), product.token_header)
    try:
        leader = (await http.ask("GET", "/v1/status/leader")).body
    except (ServerAway, ServerDenied, ServerRefused) as error:
        return wrong(check, str(error))
    finally:
        await http.close()
    if not leader:
        return wrong(
            check, f"it knows no leader: most servers must run and reach each other ({product.peers})"
        )
    return fine(check, f"answers, leader {leader}")
