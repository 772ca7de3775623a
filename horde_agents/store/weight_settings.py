"""Weights on their way to the chain: stored before they are sent, kept until the chain has them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import weight_settings


class WeightMode(StrEnum):
    """How a row is set."""

    PLAIN = "plain"
    SALTED = "salted"
    TIMELOCKED = "timelocked"


class WeightState(StrEnum):
    """How far a cycle's weights have come."""

    STORED = "stored"  # not sent, or to be sent again
    SENDING = "sending"  # sent perhaps: the chain knows
    SENT = "sent"  # in a block; hidden ones wait for their reveal
    CONFIRMED = "confirmed"  # the chain has the row
    SUPERSEDED = "superseded"  # a newer cycle's weights took its place
    DIFFERS = "differs"  # the chain keeps another row than was sent


OPEN: Final = frozenset({WeightState.STORED, WeightState.SENDING, WeightState.SENT})


@dataclass(frozen=True, slots=True)
class WeightSetting:
    """One cycle's row; ``block`` and ``epoch`` are those in which it was sent; the salt is a secret.

    ``hotkeys`` are those that earned the values, in the order of ``uids``: a UID may change hands.
    """

    cycle: int
    netuid: int
    uids: tuple[int, ...]
    hotkeys: tuple[str, ...]
    values: tuple[int, ...]
    stored_at: datetime
    version_key: int = 0
    mode: WeightMode = WeightMode.PLAIN
    state: WeightState = WeightState.STORED
    salt: tuple[int, ...] = field(default=(), repr=False)
    block: int = 0
    epoch: int = 0
    why: str = ""
    tries: int = 0

    def having(self, state: WeightState, why: str = "", **changes: Any) -> "WeightSetting":  # noqa: ANN401
        """The same weights in another state."""
        return replace(self, state=state, why=why, **changes)


async def add(connection: AsyncConnection, setting: WeightSetting) -> bool:
    """Store a cycle's weights; False when it has some, which stay."""
    query = select(weight_settings.c.cycle).where(weight_settings.c.cycle == setting.cycle)
    if (await connection.execute(query)).first() is not None:
        return False
    await connection.execute(insert(weight_settings), _columns(setting, setting.stored_at))
    return True


async def save(connection: AsyncConnection, setting: WeightSetting, at: datetime) -> None:
    """Write what has become of a cycle's weights."""
    await connection.execute(delete(weight_settings).where(weight_settings.c.cycle == setting.cycle))
    await connection.execute(insert(weight_settings), _columns(setting, at))


async def unfinished(connection: AsyncConnection) -> list[WeightSetting]:
    """Weights that the chain may not have yet, oldest first."""
    states = [state.value for state in OPEN]
    query = select(weight_settings).where(weight_settings.c.state.in_(states))
    rows = await connection.execute(query.order_by(weight_settings.c.cycle))
    return [_setting(row) for row in rows]


async def newest(connection: AsyncConnection, most: int) -> list[WeightSetting]:
    """The newest cycles' weights, newest first."""
    query = select(weight_settings).order_by(weight_settings.c.cycle.desc()).limit(most)
    return [_setting(row) for row in await connection.execute(query)]


def _columns(setting: WeightSetting, at: datetime) -> Mapping[str, Any]:
    return {
        "cycle": setting.cycle,
        "netuid": setting.netuid,
        "uids_json": json.dumps(setting.uids),
        "hotkeys_json": json.dumps(setting.hotkeys),
        "values_json": json.dumps(setting.values),
        "version_key": setting.version_key,
        "mode": setting.mode.value,
        "state": setting.state.value,
        "salt_json": json.dumps(setting.salt),
        "chain_json": json.dumps({"block": setting.block, "epoch": setting.epoch}),
        "why": setting.why,
        "tries": setting.tries,
        "stored_at": setting.stored_at,
        "changed_at": at,
    }


def _setting(row: Row[Any]) -> WeightSetting:
    chain = json.loads(row.chain_json)
    return WeightSetting(
        cycle=row.cycle,
        netuid=row.netuid,
        uids=tuple(json.loads(row.uids_json)),
        hotkeys=tuple(json.loads(row.hotkeys_json)),
        values=tuple(json.loads(row.values_json)),
        stored_at=row.stored_at,
        version_key=row.version_key,
        mode=WeightMode(row.mode),
        state=WeightState(row.state),
        salt=tuple(json.loads(row.salt_json)),
        block=chain["block"],
        epoch=chain["epoch"],
        why=row.why,
        tries=row.tries,
    )
