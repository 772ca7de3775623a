"""A validator's answers as lines for a terminal, 100 characters at most. Pure text."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, TypeAlias

from horde_agents.cli.columns import WIDTH, columns, cut, printable
from horde_agents.scoring.canonical import canonical_json
from horde_agents.scoring.explain import explained, overview
from horde_agents.scoring.result import Result, ResultWrong

Answer: TypeAlias = Mapping[str, Any]

_MORE: Final = "There are more; raise --last or --limit, or use --json and the API's cursor."


def status(told: Answer) -> list[str]:
    """Where the validator stands."""
    rows = [
        ("hotkey", told["hotkey"]),
        ("version", f"{told['version']}, configuration {told['configuration_version']}"),
        ("block", told["block_number"]),
        ("cycle", _blocks(told["cycle"])),
        ("seat", _blocks(told["seat"])),
        ("next seat", f"{_blocks(told['next_seat'])}; the instant is not told"),
        ("known", f"{told['miners']} miners, {told['validators']} validators"),
        ("last batch", _last_batch(told["last_batch"])),
        ("scored", "no cycle yet" if told["last_scored_cycle"] is None else told["last_scored_cycle"]),
        ("weights", _last_weights(told["weights"])),
    ]
    rows += [("link", f"{link['address']}: {link['why'] or 'up'}") for link in told["links"] or ()]
    if told["why_no_batch"]:
        rows.append(("NO BATCH", told["why_no_batch"]))
    rows += [("WRONG", f"{name}: {why}") for name, why in (told["wrong"] or {}).items()]
    return columns(("what", "is"), rows)


def batches(told: Answer) -> list[str]:
    """Batches that have fired."""
    head = ("uuid", "cycle", "purpose", "state", "block", "fired")
    rows = [
        (b["uuid"], b["cycle"], b["purpose"], b["state"], b["fire_block"], _at(b["fired_at"]))
        for b in told["items"]
    ]
    return _listed(head, rows, told, "No batch has fired.")


def batch(told: Answer) -> list[str]:
    """One batch with its jobs."""
    outcomes = told["outcomes"]
    ends = ", ".join(f"{count} {name or 'open'}" for name, count in (outcomes or {}).items())
    lines = [
        f"{told['purpose']} {told['uuid']}, cycle {told['cycle']}: {told['state']}",
        f"fired {_at(told['fired_at'])} at block {told['fire_block']}, ended {_at(told['ended_at'])}",
        ends or ("no jobs" if outcomes is not None else "its outcomes are not open to you yet"),
        "",
    ]
    rows = [
        (j["attempt_uuid"][:8], j["miner_hotkey"][:8], j["executor_class"], j["outcome"], j["why"])
        for j in told["jobs"]
    ]
    return lines + columns(("attempt", "miner", "class", "outcome", "why"), rows)


def score(told: Answer) -> list[str]:
    """A cycle's result: the miners with most weight first."""
    result = _result(told["result"])
    lines = _tree(told["result"]) if result is None else map(printable, overview(result))
    return [f"scored {_at(told['scored_at'])}", *lines]


def explanation(told: Answer, uid: int) -> list[str]:
    """How one UID's weight came about."""
    result = _result(told["result"])
    if result is None:
        return [f"The result of cycle {told['cycle']} is of another version; read it with --json."]
    miner = result.miner(uid)
    if miner is None:
        return [f"UID {uid} did no work in cycle {told['cycle']}."]
    return [printable(line) for line in explained(result, miner)]


def verdicts(told: Answer) -> list[str]:
    """The verdict log, and how many of it came to what."""
    head = ("number", "cycle", "kind", "miner", "class", "ran", "outcome", "why")
    rows = [
        (
            v["number"],
            v["cycle"],
            "organic" if v["is_organic"] else "synthetic",
            v["miner_hotkey"][:8],
            v["executor_class"],
            _seconds(v["run_us"]),
            v["outcome"],
            v["why"],
        )
        for v in told["items"]
    ]
    counts = Counter(v["outcome"] for v in told["items"])
    lines = _listed(head, rows, told, "No verdict yet.")
    return [*lines, "", ", ".join(f"{n} {name}" for name, n in counts.most_common())] if rows else lines


def shares(told: Answer) -> list[str]:
    """Shares by stake, then the own usage."""
    own = told["validator_hotkey"]
    rows = [
        (
            f"{s['validator_hotkey']}{' *' if s['validator_hotkey'] == own else ''}",
            f"{s['stake_rao'] / 1e9:,.0f} TAO",
            _percent(s["share"]),
        )
        for s in told["shares"]
    ]
    used = [
        (u["executor_class"], "organic" if u["is_organic"] else "synthetic", u["jobs"], _seconds(u["run_us"]))
        for u in told["usage"]
    ]
    return [
        *columns(("validator (* asked)", "stake", "share"), rows),
        "",
        f"its own use in cycle {'-' if told['cycle'] is None else told['cycle']}",
        *columns(("class", "kind", "jobs", "time"), used),
    ]


def weights(told: Answer) -> list[str]:
    """Weights by cycle."""
    head = ("cycle", "mode", "state", "tries", "changed", "uids", "why")
    rows = [
        (
            w["cycle"],
            w["mode"],
            w["state"],
            w["tries"],
            _at(w["changed_at"]),
            "not open" if w["values"] is None else str(len(w["values"])),
            w["why"],
        )
        for w in told["items"]
    ]
    return _listed(head, rows, told, "No weights yet.")


def _listed(head: Sequence[str], rows: Sequence[Sequence[object]], told: Answer, empty: str) -> list[str]:
    if not rows:
        return [empty]
    return [*columns(head, rows), *([_MORE] if told["next_cursor"] is not None else [])]


def _blocks(span: Answer | None) -> str:
    if span is None:
        return "not known"
    return f"{span['cycle']}, blocks {span['first_block']} to {span['last_block']}"


def _last_batch(told: Answer | None) -> str:
    if told is None:
        return "none has fired"
    return f"{told['purpose']} {told['uuid']}, fired {_at(told['fired_at'])}: {told['state']}"


def _last_weights(told: Answer | None) -> str:
    if told is None:
        return "none yet"
    why = f" ({told['why']})" if told["why"] else ""
    return f"cycle {told['cycle']} {told['mode']}: {told['state']}{why}, {_at(told['changed_at'])}"


def _at(text: str | None) -> str:
    return "-" if text is None else text[:19].replace("T", " ")


def _seconds(microseconds: int) -> str:
    return f"{microseconds / 1e6:,.1f} s"


def _percent(share: str | None) -> str:
    return "-" if share is None else f"{float(Fraction(share)) * 100:.2f} %"


def _result(told: Answer) -> Result | None:
    """A result as this version knows it; the validator asked may be of another."""
    try:
        return Result.from_json(canonical_json(told))
    except (ResultWrong, ValueError):
        return None


def _tree(value: object, depth: int = 0) -> Iterator[str]:
    """A value of JSON as an indented list."""
    indent = "  " * depth
    pairs = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, item in pairs:
        if isinstance(item, Mapping | list) and item:
            yield cut(printable(f"{indent}{name}"), WIDTH)
            yield from _tree(item, depth + 1)
        else:
            yield cut(printable(f"{indent}{name}: {item}"), WIDTH)
