"""Weights on the chain: plain, salted, timelocked, and what an epoch makes of them."""

import logging
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import bittensor_core

from horde_agents.devchain import scale
from horde_agents.devchain.subnets import PALLET, Refused, Subnets

#: The signature of drand quicknet's round 1000, a public value. What is sealed to that round opens with it.
OPEN_ROUND: Final = 1000
OPEN_SIGNATURE: Final = (
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"
)
_U16: Final = 65_535
_MAX_PENDING: Final = 10
_SCHEME_VERSION: Final = 4
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Weights:
    """Rows of weights and the commits that stand for future rows."""

    subnets: Subnets

    def put(
        self, netuid: int, hotkey: str, dests: list[int], weights: list[int], *, revealed: bool = False
    ) -> None:
        """Write a row.

        Raises:
            Refused: not registered, no permit, too soon, or a malformed row.
        """
        subnets = self.subnets
        uid = subnets.registered_uid(netuid, hotkey)
        if len(dests) != len(weights):
            raise Refused(PALLET, "WeightVecNotEqualSize")
        if not revealed:
            self._check_rate(netuid, uid, "SettingWeightsTooFast")
        is_owner = hotkey == subnets.read("SubnetOwnerHotkey", netuid)
        if not subnets.read("ValidatorPermit", netuid)[uid] and dests != [uid] and not is_owner:
            raise Refused(PALLET, "NeuronNoValidatorPermit")
        if any(dest >= subnets.read("SubnetworkN", netuid) for dest in dests):
            raise Refused(PALLET, "UidVecContainInvalidOne")
        top = max(weights, default=0) or 1
        row = [(dest, weight * _U16 // top) for dest, weight in zip(dests, weights, strict=True)]
        subnets.write("Weights", [netuid, uid], row)
        if not revealed:
            subnets.touch(netuid, uid)
        subnets.happened("WeightsSet", (netuid, uid))

    def put_plain(self, netuid: int, hotkey: str, dests: list[int], weights: list[int]) -> None:
        """Write a row where weights are not hidden.

        Raises:
            Refused: the subnet hides them, or see ``put``.
        """
        if self.subnets.read("CommitRevealWeightsEnabled", netuid):
            raise Refused(PALLET, "CommitRevealEnabled")
        self.put(netuid, hotkey, dests, weights)

    def commit_salted(self, netuid: int, hotkey: str, commit_hash: str) -> None:
        """Keep the hash of a row until its owner reveals it.

        Raises:
            Refused: hidden weights are off, not registered, too soon, too many pending.
        """
        uid = self._committing_uid(netuid, hotkey)
        pending = [list(entry) for entry in self.subnets.read("WeightCommits", netuid, hotkey) or []]
        if len(pending) >= _MAX_PENDING:
            raise Refused(PALLET, "TooManyUnrevealedCommits")
        epoch = self.epoch(netuid)
        now = self.subnets.storage.block_number
        pending.append([commit_hash, epoch, now, now])
        self.subnets.write("WeightCommits", [netuid, hotkey], [tuple(entry) for entry in pending])
        self.subnets.touch(netuid, uid)
        self.subnets.happened("WeightsCommitted", (hotkey, netuid, commit_hash))

    def reveal_salted(self, netuid: int, hotkey: str, row: dict[str, Any]) -> None:
        """Write the row whose hash was committed one reveal period ago.

        Raises:
            Refused: no such commit, too early, or expired.
        """
        pending = list(self.subnets.read("WeightCommits", netuid, hotkey) or [])
        digest = salted_hash(hotkey, netuid, row["uids"], row["values"], row["salt"], row["version_key"])
        found = next((entry for entry in pending if str(entry[0]) == digest), None)
        if found is None:
            raise Refused(PALLET, "InvalidRevealCommitHashNotMatch" if pending else "NoWeightsCommitFound")
        due = int(found[1]) + self.subnets.read("RevealPeriodEpochs", netuid)
        if self.epoch(netuid) < due:
            raise Refused(PALLET, "RevealTooEarly")
        if self.epoch(netuid) > due:
            raise Refused(PALLET, "ExpiredWeightCommit")
        self.put(netuid, hotkey, list(row["uids"]), list(row["values"]), revealed=True)
        left = [tuple(entry) for entry in pending if entry is not found]
        self.subnets.write("WeightCommits", [netuid, hotkey], left or None)
        self.subnets.happened("WeightsRevealed", (hotkey, netuid, digest))

    def commit_timelocked(
        self, netuid: int, hotkey: str, commit: str, round_number: int, version: int
    ) -> None:
        """Keep a sealed row; it opens by itself in its epoch if it can be opened here.

        Raises:
            Refused: hidden weights are off, wrong scheme, not registered, too soon, too many pending.
        """
        uid = self._committing_uid(netuid, hotkey)
        if version != _SCHEME_VERSION:
            raise Refused(PALLET, "IncorrectCommitRevealVersion")
        epoch = self.epoch(netuid)
        pending = list(self.subnets.read("TimelockedWeightCommits", netuid, epoch))
        if sum(entry[0] == hotkey for entry in pending) >= _MAX_PENDING:
            raise Refused(PALLET, "TooManyUnrevealedCommits")
        pending.append((hotkey, self.subnets.storage.block_number, commit, round_number))
        self.subnets.write("TimelockedWeightCommits", [netuid, epoch], pending)
        self.subnets.touch(netuid, uid)
        self.subnets.happened("TimelockedWeightsCommitted", (hotkey, netuid, _hash(commit), round_number))

    def epoch(self, netuid: int) -> int:
        """The epoch that a commit in this block belongs to."""
        return int(self.subnets.read("SubnetEpochIndex", netuid)) + self.is_due(netuid)

    def is_due(self, netuid: int) -> bool:
        """True when this block ends the subnet's epoch."""
        tempo = self.subnets.read("Tempo", netuid)
        since = self.subnets.storage.block_number - self.subnets.read("LastEpochBlock", netuid)
        return bool(tempo > 0 and since >= tempo)

    def begin_block(self, netuid: int) -> None:
        """What the runtime does for a subnet before any extrinsic."""
        subnets = self.subnets
        target = self.epoch(netuid) - subnets.read("RevealPeriodEpochs", netuid)
        if target >= 0 and (sealed := subnets.read("TimelockedWeightCommits", netuid, target)):
            left = [entry for entry in sealed if not self._opened(netuid, entry)]
            subnets.write("TimelockedWeightCommits", [netuid, target], left or None)
        since = subnets.read("BlocksSinceLastStep", netuid)
        subnets.write("BlocksSinceLastStep", [netuid], since + 1)
        if self.is_due(netuid):
            self._end_epoch(netuid)

    def _opened(self, netuid: int, entry: tuple[str, int, str, int]) -> bool:
        hotkey, _, commit, round_number = entry
        inner = bytes.fromhex(commit.removeprefix("0x"))
        envelope = scale.compact(len(inner)) + inner + round_number.to_bytes(8, "little")
        try:
            plain = bytes(bittensor_core.decrypt_with_signature(envelope, OPEN_SIGNATURE))
        except (ValueError, RuntimeError, OSError):
            return False  # sealed to a real future round: listed, never opened here
        length, at = scale.read_compact(plain)
        dests, at = scale.read_u16s(plain, at + length)
        weights, _ = scale.read_u16s(plain, at)
        try:
            self.put(netuid, hotkey, dests, weights, revealed=True)
        except Refused as refused:
            _log.warning("a revealed row was refused: %s", refused)
        else:
            self.subnets.happened("TimelockedWeightsRevealed", (netuid, hotkey))
        return True

    def _end_epoch(self, netuid: int) -> None:
        """Permits to the largest stakes; incentive is the stake-weighted mean of rows, not Yuma."""
        subnets = self.subnets
        stakes = [subnets.stake(hotkey, netuid) for hotkey in subnets.hotkeys(netuid)]
        by_stake = sorted(
            (uid for uid, stake in enumerate(stakes) if stake > 0), key=lambda uid: -stakes[uid]
        )
        permitted = set(by_stake[: subnets.read("MaxAllowedValidators", netuid)])
        total = sum(stakes[uid] for uid in permitted) or 1
        incentive = [0.0] * len(stakes)
        for uid in permitted:
            row = subnets.read("Weights", netuid, uid)
            row_sum = sum(weight for _, weight in row) or 1
            for dest, weight in row:
                incentive[dest] += stakes[uid] / total * weight / row_sum
        whole = sum(incentive) or 1.0
        dividends = [stakes[uid] * _U16 // total if uid in permitted else 0 for uid in range(len(stakes))]
        subnets.write("ValidatorPermit", [netuid], [uid in permitted for uid in range(len(stakes))])
        subnets.write("Incentive", [netuid], [int(_U16 * share / whole) for share in incentive])
        subnets.write("Dividends", [netuid], dividends)
        subnets.write("LastEpochBlock", [netuid], subnets.storage.block_number)
        subnets.write("BlocksSinceLastStep", [netuid], 0)
        subnets.write("SubnetEpochIndex", [netuid], subnets.read("SubnetEpochIndex", netuid) + 1)

    def _committing_uid(self, netuid: int, hotkey: str) -> int:
        if not self.subnets.read("CommitRevealWeightsEnabled", netuid):
            raise Refused(PALLET, "CommitRevealDisabled")
        uid = self.subnets.registered_uid(netuid, hotkey)
        self._check_rate(netuid, uid, "CommittingWeightsTooFast")
        return uid

    def _check_rate(self, netuid: int, uid: int, error: str) -> None:
        last = self.subnets.read("LastUpdate", netuid)[uid]
        since = self.subnets.storage.block_number - last
        if last and since < self.subnets.read("WeightsSetRateLimit", netuid):
            raise Refused(PALLET, error)


def salted_hash(
    hotkey: str, netuid: int, uids: list[int], values: list[int], salt: list[int], version_key: int
) -> str:
    """The commitment to a row, as 0x text: blake2-256 over its SCALE bytes."""
    account = bytes(bittensor_core.ss58_decode(hotkey))
    row = scale.u16s(uids) + scale.u16s(values) + scale.u16s(salt)
    body = account + netuid.to_bytes(2, "little") + row + version_key.to_bytes(8, "little")
    return "0x" + blake2b(body, digest_size=32).hexdigest()


def _hash(commit: str) -> str:
    return "0x" + blake2b(bytes.fromhex(commit.removeprefix("0x")), digest_size=32).hexdigest()
