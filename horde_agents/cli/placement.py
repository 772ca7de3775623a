"""``horde placement …``: which UID has which slots, and an operator's orders about that."""

import json
import sys
from dataclasses import asdict, dataclass, is_dataclass
from typing import Annotated, Any, Final

import typer

from horde_agents.cli.placement_picture import history, picture, picture_json, short
from horde_agents.cli.shared_store import Config, Json, SharedHorde, with_horde
from horde_agents.placement import orders
from horde_agents.placement.coordination import Delete, Put
from horde_agents.placement.orders import OrderRefused
from horde_agents.placement.records import CHOREOGRAPHER, HordeState, MoveRecord, read_moves
from horde_agents.runtime import clock

app = typer.Typer(help="Which UID has which slots; dances, drains, pins.", no_args_is_help=True)

Slot = Annotated[str, typer.Argument(help="The slot's id, as `horde placement show` prints it.")]
Uid = Annotated[str, typer.Argument(help="Hotkey, the beginning of one, or UID.")]
#: Seconds for which a choreographer that died may be followed by another.
_PATIENCE_S: Final = 30.0
_LOOK_S: Final = 1.0


@app.command("show")
def show(config: Config = None, as_json: Json = False) -> None:
    """Slots, their UIDs and states, living miners, clashes and unreadable keys."""

    async def read(horde: SharedHorde) -> tuple[str, HordeState]:
        return horde.keys.horde, await horde.state()

    name, state = with_horde(config, read)
    if as_json:
        typer.echo(json.dumps(picture_json(name, state), default=_plain))
    else:
        typer.echo("\n".join(picture(name, state)))


@app.command("history")
def show_history(
    config: Config = None,
    last: Annotated[int, typer.Option(min=1, help="Transactions of moves, the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """The last moves: when, why, from whom to whom, by whom."""
    records = with_horde(config, lambda horde: _moves(horde))[-last:]
    if as_json:
        typer.echo(json.dumps([asdict(record) for record in records]))
        return
    for line in history(records):
        typer.echo(line)
    if not records:
        typer.echo("No slot has moved yet.")


@app.command("dance")
def dance(
    config: Config = None,
    wait_s: Annotated[
        float, typer.Option("--wait", min=1, help="Seconds to wait for the dance to be over.")
    ] = 120.0,
) -> None:
    """Ask for a dance now and wait until it is over."""
    danced = with_horde(config, lambda horde: _dance(horde, wait_s))
    if not danced.moved:
        typer.echo(f"The dance is over. No slot moved: {danced.why_not}.")
        return
    typer.echo(f"The dance is over. {danced.moved} of {danced.slots} slots moved.")


@app.command("drain")
def drain(uid: Uid, config: Config = None) -> None:
    """Take a UID's slots away as their jobs end, and give it none."""
    _drain(config, uid, drained=True)


@app.command("undrain")
def undrain(uid: Uid, config: Config = None) -> None:
    """Let a UID have slots again."""
    _drain(config, uid, drained=False)


@app.command("pin")
def pin(
    slot: Slot,
    config: Config = None,
    to: Annotated[str, typer.Option(help="Hotkey or UID to give it to first; empty: its present one.")] = "",
) -> None:
    """Keep a slot where it is through dances and drains."""

    async def order(horde: SharedHorde) -> tuple[bool, str]:
        hotkey = orders.uid_named(await horde.state(), to) if to else None
        at = clock.iso(clock.now())
        done = await horde.order(lambda state: orders.pin(state, horde.keys, slot, hotkey, at))
        return done, (await horde.state()).slots[slot].owner

    done, owner = with_horde(config, order)
    typer.echo(f"{slot} is pinned to {owner}." if done else f"{slot} was pinned to {owner} already.")


@app.command("unpin")
def unpin(slot: Slot, config: Config = None) -> None:
    """Let a slot move again."""
    done = with_horde(config, lambda horde: horde.order(lambda state: orders.unpin(state, horde.keys, slot)))
    typer.echo(f"{slot} may move again." if done else f"{slot} was not pinned.")


def _drain(config: Config, uid: str, *, drained: bool) -> None:
    async def order(horde: SharedHorde) -> tuple[str, bool]:
        hotkey = orders.uid_named(await horde.state(), uid)
        return hotkey, await horde.order(
            lambda state: orders.drain(state, horde.keys, hotkey, drained=drained)
        )

    hotkey, done = with_horde(config, order)
    what = "drained" if drained else "not drained"
    typer.echo(f"{hotkey} is {what}{'' if done else ' already'}.")


@dataclass(frozen=True, slots=True)
class _Danced:
    moved: int
    slots: int
    why_not: str


async def _moves(horde: SharedHorde) -> list[MoveRecord]:
    return read_moves(await horde.store.snapshot(horde.keys.history))


async def _dance(horde: SharedHorde, wait_s: float) -> _Danced:
    """Ask, and watch until the request is gone.

    Raises:
        OrderRefused: no choreographer is there to dance, or it is not over in time.
    """
    before = await horde.state()
    await horde.order(lambda state: [] if state.dance_wanted else [Put(horde.keys.dance, _at(), 0)])
    state, begun_s = await horde.state(), clock.monotonic_s()
    led_s = begun_s
    while state.dance_wanted:
        now_s = clock.monotonic_s()
        leader = state.who_has(CHOREOGRAPHER)
        led_s = led_s if leader is None else now_s
        if now_s - led_s > min(_PATIENCE_S, wait_s):
            await horde.order(lambda known: _withdrawn(known, horde))
            raise OrderRefused(
                f"No miner of horde {horde.keys.horde} is choreographer, so nothing dances; the request is "
                "withdrawn. Is a miner running with this horde and store? See `horde placement show`."
            )
        if now_s - begun_s > wait_s:
            raise OrderRefused(_too_late(state, wait_s))
        _progress(f"waiting for choreographer {short(leader)}" if leader else "waiting for a choreographer")
        state = await horde.next_state(state, _LOOK_S)
    _progress("")
    moved = sum(
        state.slots[slot_id].epoch != slot.epoch
        for slot_id, slot in before.slots.items()
        if slot_id in state.slots
    )
    return _Danced(moved, len(state.slots), orders.why_nothing_danced(state))


def _withdrawn(state: HordeState, horde: SharedHorde) -> list[Delete]:
    return [Delete(horde.keys.dance, state.indices[horde.keys.dance])] if state.dance_wanted else []


def _too_late(state: HordeState, wait_s: float) -> str:
    away = sorted(
        {slot.owner for slot in state.slots.values() if slot.owner and slot.owner not in state.members}
    )
    why = f" It waits for {', '.join(map(short, away))} to come back or count as gone." if away else ""
    return f"The dance is not over after {wait_s:g} s; the request stays.{why} See the choreographer's log."


def _at() -> str:
    return json.dumps(clock.iso(clock.now()))


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{text}", nl=False, err=True)


def _plain(value: Any) -> Any:  # noqa: ANN401  (whatever JSON has no form for)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} has no JSON form")
