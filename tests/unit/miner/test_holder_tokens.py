"""What a holder's token must be: signed by Nomad's key with that key's algorithm, of a holder, of now."""

import json
import time
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from horde_agents.agents.miner.nomad.holder_tokens import AUDIENCE, HolderTokens
from horde_agents.agents.miner.tokens import TokenWrong
from horde_agents.clients.nomad import Nomad

KEY, FOREIGN = generate_private_key(65537, 2048), generate_private_key(65537, 2048)


class Keys:
    """As much of Nomad as is asked for a token."""

    namespace = "default"

    async def signing_keys(self) -> list[dict[str, Any]]:
        row = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        return [{**row, "kid": "k1", "alg": "RS256"}, {"kid": "k2"}, {"kid": 3}]


def claims(**change: Any) -> dict[str, Any]:
    now = int(time.time())
    right = {
        "aud": AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "nomad_namespace": "default",
        "nomad_job_id": "holder-a6k/dispatch-1",
        "nomad_allocation_id": "a1",
    }
    return {name: value for name, value in {**right, **change}.items() if value is not None}


def signed(key: RSAPrivateKey = KEY, kid: str = "k1", **change: Any) -> str:
    return jwt.encode(claims(**change), key, "RS256", headers={"kid": kid})


def mac_with_public_key() -> str:
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head, body, _ = signed().split(".")
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    head = jwt.utils.base64url_encode(b'{"alg":"HS256","kid":"k1","typ":"JWT"}').decode()
    mac = algorithm.sign(f"{head}.{body}".encode(), pem)
    return f"{head}.{body}.{jwt.utils.base64url_encode(mac).decode()}"


def tokens() -> HolderTokens:
    return HolderTokens(cast("Nomad", Keys()))


async def test_right_token_vouches_for_its_allocation() -> None:
    assert (await tokens().badge(signed())).allocation_id == "a1"


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(claims(), "", "none", headers={"kid": "k1"}),
        mac_with_public_key(),
        signed(FOREIGN),
        signed(kid="../../k1"),
        signed(kid="k2"),
        signed(kid=""),
        signed(aud="nomadproject.io"),
        signed(aud=None),
        signed(nomad_namespace="other"),
        signed(nomad_namespace=None),
        signed(nomad_job_id="horde-miner"),
        signed(nomad_job_id=None),
        signed(nomad_allocation_id=None),
        signed(exp=int(time.time()) - 3600),
        signed(exp=None),
        signed(nbf=int(time.time()) + 3600),
        signed() + "x" * 2**20,
        "x" * 2**20,
        "",
        "..",
        "\udcff.\udcff.\udcff",
        "é.é.é",
        jwt.utils.base64url_encode(b"[" * 5000).decode() + ".e30.x",
        jwt.utils.base64url_encode(b'{"alg":"RS256","kid":{"a":1}}').decode() + ".e30.x",
    ],
    ids=range(24),
)
async def test_any_other_token_is_refused(token: str) -> None:
    with pytest.raises(TokenWrong):
        await tokens().badge(token)
