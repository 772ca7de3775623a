"""Holders' tokens: Nomad signs them over the allocation and renews them; its public keys prove them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from horde_agents.agents.miner.admission import Badge
from horde_agents.agents.miner.nomad.picture import PREFIX
from horde_agents.agents.miner.tokens import TokenWrong
from horde_agents.clients.cluster_http import ServerAway, ServerDenied, ServerRefused
from horde_agents.clients.nomad import Nomad
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

#: Whom the token is for: the ``aud`` of the identity in ``holder.nomad.hcl``.
AUDIENCE: Final = "horde"
_ALGORITHMS: Final = ("RS256", "EdDSA")
_REQUIRED: Final = ("exp", "aud", "nomad_job_id", "nomad_allocation_id", "nomad_namespace")
#: Clocks of gpu nodes may differ by so much.
_LEEWAY_S: Final = 30
#: Seconds between two readings of the keys at least: forged tokens must not make us ask.
_ASK_AGAIN_S: Final = 5.0
_log = get_logger(__name__)


@dataclass(slots=True)
class HolderTokens:
    """Reads tokens with keys that are read from Nomad when a token names one that is not known yet."""

    nomad: Nomad
    _keys: dict[str, jwt.PyJWK] = field(default_factory=dict)
    _asked_s: float = float("-inf")

    async def badge(self, token: str) -> Badge:
        """The allocation that ``token`` vouches for.

        Raises:
            TokenWrong: forged, damaged, expired, or not a holder's.
        """
        try:
            key = await self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=AUDIENCE,
                leeway=_LEEWAY_S,
                options={"require": list(_REQUIRED)},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenWrong("the token has expired; Nomad renews it in the secrets folder") from error
        except (jwt.PyJWTError, UnicodeError) as error:  # the latter of letters that no token has
            raise TokenWrong(f"the token was not issued by this horde's Nomad: {error}") from error
        return self._badge(claims)

    def _badge(self, claims: dict[str, Any]) -> Badge:
        namespace, nomad_job_id = claims["nomad_namespace"], str(claims["nomad_job_id"])
        if namespace != self.nomad.namespace or not nomad_job_id.startswith(PREFIX):
            raise TokenWrong(f"the token is of job {nomad_job_id!r:.60} in {namespace!r:.60}: no holder")
        return Badge(allocation_id=str(claims["nomad_allocation_id"]))

    async def _key(self, key_id: str) -> jwt.PyJWK:
        if key_id not in self._keys and monotonic_s() - self._asked_s > _ASK_AGAIN_S:
            self._asked_s = monotonic_s()
            try:
                self._keys = dict(_readable(await self.nomad.signing_keys()))
            except (ServerAway, ServerDenied, ServerRefused) as error:
                _log.warning("Nomad's keys cannot be read, tokens of new ones are refused", why=str(error))
        if key_id not in self._keys:
            raise TokenWrong(f"the token is signed by {key_id!r:.80}, no key of this horde's Nomad")
        return self._keys[key_id]


def _readable(rows: Iterable[object]) -> Iterator[tuple[str, jwt.PyJWK]]:
    for row in rows:
        try:
            if isinstance(row, dict) and isinstance(row.get("kid"), str):
                yield row["kid"], jwt.PyJWK(row)
        except (jwt.PyJWTError, ValueError) as error:
            _log.warning("key of Nomad cannot be read, left out", key=row, why=str(error))
