"""Whom a holder's token may come from: this horde's Nomad, for a holder that lives, and nobody else."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from horde_agents.agents.miner.nomad.holder_tokens import HolderTokens
from horde_agents.agents.miner.tokens import TokenWrong
from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.nomad import Nomad
from tests.fixtures.web_server import WebServer, serving

OURS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
FOREIGN = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def token(key: rsa.RSAPrivateKey = OURS, kid: str = "ours", **change: Any) -> str:
    """A token as Nomad makes them for holders; ``None`` leaves a claim out."""
    claims = {
        "aud": "horde",
        "exp": int(time.time()) + 3600,
        "nomad_namespace": "default",
        "nomad_job_id": "holder-l",
        "nomad_allocation_id": "a-1",
        **change,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm="RS256", headers={"kid": kid})


@asynccontextmanager
async def asked(*keys: dict[str, Any]) -> AsyncIterator[tuple[HolderTokens, WebServer]]:
    """Tokens against a Nomad that has these keys."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"keys": list(keys)})

    async with serving(answer) as server:
        nomad = Nomad(ClusterAddress((server.url,)))
        try:
            yield HolderTokens(nomad), server
        finally:
            await nomad.close()


def public(key: rsa.RSAPrivateKey = OURS, kid: str = "ours") -> dict[str, Any]:
    text = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())
    return {**json.loads(text), "kid": kid, "use": "sig", "alg": "RS256"}


async def test_token_of_this_nomad_vouches_for_its_allocation() -> None:
    async with asked(public()) as (tokens, server):
        assert (await tokens.badge(token())).allocation_id == "a-1"
        assert (await tokens.badge(token(nomad_allocation_id="a-2"))).allocation_id == "a-2"
        assert server.paths() == ["/.well-known/jwks.json"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"exp": 1}, "expired"),
        ({"aud": "vault.io"}, "not issued by this horde's Nomad"),
        ({"aud": None}, "not issued by this horde's Nomad"),
        ({"exp": None}, "not issued by this horde's Nomad"),
        ({"nomad_allocation_id": None}, "not issued by this horde's Nomad"),
        ({"nomad_job_id": "web"}, "of job 'web' in 'default': no holder"),
        ({"nomad_namespace": "others"}, "in 'others': no holder"),
        ({"key": FOREIGN}, "not issued by this horde's Nomad"),
        ({"key": FOREIGN, "kid": "theirs"}, "signed by 'theirs', no key of this horde's Nomad"),
        ({"kid": ""}, "signed by '', no key of this horde's Nomad"),
    ],
    ids=str,
)
async def test_other_token_is_refused_in_a_sentence(wrong: dict[str, Any], why: str) -> None:
    async with asked(public()) as (tokens, _):
        with pytest.raises(TokenWrong, match=why):
            await tokens.badge(token(**wrong))


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "ey.ey.ey", "\x00" * 10, "é.é.é", token()[:-3]])
async def test_garbage_is_refused(text: str) -> None:
    async with asked(public()) as (tokens, _):
        with pytest.raises(TokenWrong):
            await tokens.badge(text)


async def test_token_without_a_signature_is_refused() -> None:
    bare = jwt.encode({"aud": "horde", "exp": 9999999999}, "", algorithm="none", headers={"kid": "ours"})
    async with asked(public()) as (tokens, _):
        with pytest.raises(TokenWrong):
            await tokens.badge(bare)


async def test_forged_tokens_do_not_make_the_miner_ask_nomad_each_time() -> None:
    async with asked(public()) as (tokens, server):
        for number in range(20):
            with pytest.raises(TokenWrong):
                await tokens.badge(token(FOREIGN, f"forged-{number}"))
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "keys", [[{}], [{"kid": "ours"}], [{"kid": "ours", "kty": "XX"}], [public(), {"kid": "new", "kty": "?"}]]
)
async def test_key_that_cannot_be_read_is_left_out(keys: list[dict[str, Any]]) -> None:
    async with asked(*keys) as (tokens, _):
        if keys[0].get("n"):
            await tokens.badge(token())
        else:
            with pytest.raises(TokenWrong, match="no key of this horde's Nomad"):
                await tokens.badge(token())


async def test_nomad_that_is_away_refuses_new_keys_and_keeps_known_ones() -> None:
    async with asked(public()) as (tokens, _):
        await tokens.badge(token())
        tokens.nomad._http.address = ClusterAddress(("http://127.0.0.1:1",))
        tokens._asked_s = float("-inf")
        await tokens.badge(token())
        with pytest.raises(TokenWrong, match="no key of this horde's Nomad"):
            await tokens.badge(token(FOREIGN, "theirs"))
