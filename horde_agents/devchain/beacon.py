"""Lets our own processes make timelocked commits that a devchain can open; refuses every other chain.

Offline nobody has the beacon's future signatures. With this shim a commit is sealed to a past round whose
signature is public, while it still names the honest reveal round. Started by ``--devchain-beacon`` only.
"""

from collections.abc import Callable
from typing import Any

import bittensor_core

from horde_agents.devchain import scale
from horde_agents.devchain.chain import GENESIS_MARK
from horde_agents.devchain.weights import OPEN_ROUND


class NotADevchain(Exception):
    """The chain's genesis is not a devchain's; sealing rows there with a known key would publish them."""


def install_beacon(genesis_hash: str) -> None:
    """Replace the SDK's sealing function in this process.

    Raises:
        NotADevchain: ``genesis_hash`` is another chain's.
    """
    if not bytes.fromhex(genesis_hash.removeprefix("0x")).startswith(GENESIS_MARK):
        raise NotADevchain(
            f"The chain with genesis {genesis_hash} is no devchain: leave --devchain-beacon out."
        )
    bittensor_core.get_encrypted_commit_v2 = _opened_by_past_round(bittensor_core.get_encrypted_commit_v2)


def _opened_by_past_round(honest: Callable[..., tuple[bytes, int]]) -> Callable[..., tuple[bytes, int]]:
    def seal(**given: Any) -> tuple[bytes, int]:  # noqa: ANN401  (the SDK's own keyword arguments)
        _, round_number = honest(**given)
        hotkey = bytes(given["hotkey"])
        row = scale.u16s(list(given["uids"])) + scale.u16s(list(given["weights"]))
        plain = scale.compact(len(hotkey)) + hotkey + row + int(given["version_key"]).to_bytes(8, "little")
        sealed = bittensor_core.encrypt_at_round(plain, OPEN_ROUND)[0]
        return bytes(bittensor_core.inner_ciphertext(sealed)), round_number

    return seal
