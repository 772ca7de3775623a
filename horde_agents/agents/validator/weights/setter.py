"""Brings stored weights to the chain and sees that they are there, whatever happens in between."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from horde_agents.agents.validator.weights.steps import Act, Next, OnChain, next_step, row_of
from horde_agents.clients.chain import ChainFault, ChainRefused
from horde_agents.clients.chain_weights import Salted, Terms, WeightsClient
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.scoring.result import Result
from horde_agents.store import weight_settings
from horde_agents.store.engine import Store
from horde_agents.store.weight_settings import OPEN, WeightMode, WeightSetting, WeightState

#: Numbers of a salt, each below 65,536.
_SALT_LENGTH: Final = 8
#: The chain's name for a reveal before its epoch.
_TOO_EARLY: Final = "RevealTooEarly"

_log = get_logger(__name__)


@dataclass(slots=True)
class WeightSetter:
    """The loop; ``hides`` says whether weights are to be committed where the subnet wants that."""

    chain: WeightsClient
    store: Store
    netuid: int
    hides: Callable[[], bool]
    scheme: WeightMode
    pause_s: float
    trouble: str = ""
    #: told for how many seconds the oldest weights have waited for the chain
    waits: Callable[[float], None] = lambda _seconds: None

    async def put(self, result: Result) -> None:
        """Store a cycle's weights; they go out from there, once, and are never computed again."""
        setting = WeightSetting(
            cycle=result.cycle,
            netuid=self.netuid,
            uids=result.uids,
            hotkeys=result.hotkeys,
            values=result.weights,
            stored_at=now(),
            mode=self.scheme,
        )
        if result.uids:
            await self.store.writer.run(lambda connection: weight_settings.add(connection, setting))

    async def serve(self) -> NoReturn:
        """Take steps for ever."""
        while True:
            try:
                await self._round()
                self.trouble = ""
            except ChainFault as error:
                if str(error) != self.trouble:
                    _log.warning("weights wait for the chain", why=str(error))
                self.trouble = str(error)
            await asyncio.sleep(self.pause_s)

    async def _round(self) -> None:
        async with self.store.reading() as connection:
            waiting = await weight_settings.unfinished(connection)
            newest = await weight_settings.newest(connection, 1)
        self.waits((now() - waiting[0].stored_at).total_seconds() if waiting else 0.0)
        for setting in waiting:
            await self._step(setting, newest[0].cycle)

    async def _step(self, setting: WeightSetting, newest_cycle: int) -> None:
        terms = await self.chain.terms()
        row = await self.chain.row(terms.uid) if terms.uid is not None else {}
        found = OnChain(terms, row, await self._committed_block(setting, terms))
        step = next_step(setting, found, newest_cycle, hide=self.hides())
        if step.act is Act.SEND and step.setting.mode is WeightMode.SALTED:
            # each commit its own: the chain may still have an expired one
            step = Next(step.act, replace(step.setting, salt=_new_salt()))
        if step.setting != setting:
            await self._save(step.setting)
        if step.act is not Act.NOTHING:
            await self._save(await self._performed(step))

    async def _performed(self, step: Next) -> WeightSetting:
        """The setting after the act; an unclear end leaves it to the next round to look at the chain."""
        setting = step.setting
        try:
            if step.act is Act.REVEAL:
                await self.chain.reveal_salted(_salted(setting))
                return setting
            await self._send(setting)
        except ChainRefused as error:
            if step.act is Act.REVEAL:
                # only when the commit's block had ended an epoch: it belongs to the next one
                early = _TOO_EARLY in str(error)
                return setting.having(setting.state, str(error), epoch=setting.epoch + early)
            return setting.having(WeightState.STORED, str(error))
        return setting.having(WeightState.SENT)

    async def _send(self, setting: WeightSetting) -> None:
        match setting.mode:
            case WeightMode.PLAIN:
                await self.chain.set_plain(row_of(setting))
            case WeightMode.SALTED:
                await self.chain.commit_salted(_salted(setting))
            case WeightMode.TIMELOCKED:
                await self.chain.commit_timelocked(row_of(setting))

    async def _committed_block(self, setting: WeightSetting, terms: Terms) -> int | None:
        """Where a commit of these weights waits on the chain, if one does."""
        if setting.state is WeightState.STORED or setting.mode is WeightMode.PLAIN:
            return None
        if setting.mode is WeightMode.SALTED:
            return setting.block + 1 if await self.chain.has_salted(_salted(setting)) else None
        found = [await self.chain.timelocked_at(epoch) for epoch in (setting.epoch, setting.epoch + 1)]
        return max((block for block in found if block is not None), default=None)

    async def _save(self, setting: WeightSetting) -> None:
        at = now()
        await self.store.writer.run(lambda connection: weight_settings.save(connection, setting, at))
        is_over = setting.state not in OPEN
        tell = _log.info if is_over or setting.state is WeightState.SENT else _log.debug
        tell(
            "weights",
            cycle=setting.cycle,
            state=setting.state.value,
            mode=setting.mode.value,
            why=setting.why,
        )


def _new_salt() -> tuple[int, ...]:
    return tuple(secrets.randbelow(1 << 16) for _ in range(_SALT_LENGTH))


def _salted(setting: WeightSetting) -> Salted:
    return Salted(row_of(setting), setting.salt)
