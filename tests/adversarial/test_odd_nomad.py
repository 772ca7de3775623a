"""A Nomad whose answers lack fields, have nulls or are something else: named, and nothing is done on it."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from horde_agents.clients.cluster_http import ClusterAddress, ServerAway, ServerRefused
from horde_agents.clients.nomad import Nomad
from horde_agents.runtime.health import listening

CHILD = {"ID": "holder-x/dispatch-1", "ParentID": "holder-x", "Status": "running", "Stop": False}
ODD: list[Any] = [
    None,
    5,
    "text",
    {"a": 1},
    [None],
    [5],
    ["x"],
    [[]],
    [{"ParentID": "p", "NodePool": "pool"}],
]


class OddNomad:
    """Answers everything with ``says``."""

    says: str = "null"

    async def answer(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.says, content_type="application/json")


@pytest.fixture
async def odd() -> OddNomad:
    return OddNomad()


@pytest.fixture
async def nomad(odd: OddNomad) -> AsyncIterator[Nomad]:
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", odd.answer)])
    async with listening(app, "127.0.0.1", 0) as port:
        client = Nomad(ClusterAddress((f"http://127.0.0.1:{port}",)))
        yield client
        await client.close()


@pytest.mark.parametrize("answer", ODD, ids=range(len(ODD)))
async def test_odd_answers_are_refused_in_words_or_hold_nothing(
    odd: OddNomad, nomad: Nomad, answer: Any
) -> None:
    odd.says = json.dumps(answer)
    for asking in (
        lambda: nomad.children("holder-"),
        lambda: nomad.allocations("holder-"),
        lambda: nomad.allocation("a"),
        lambda: nomad.allocations_of("j"),
        lambda: nomad.nodes("pool"),
        lambda: nomad.why_blocked("j"),
        lambda: nomad.dispatch("holder-x", "t", {}),
        lambda: nomad.parse("", ""),
        lambda: nomad.job("j"),
        lambda: nomad.signing_keys(),
    ):
        found = None
        with contextlib.suppress(ServerRefused, ServerAway):  # of which the agents make a sentence
            found = await asking()
        assert not found or isinstance(found, dict), found


async def test_nulls_where_nomad_leaves_things_out_are_read(odd: OddNomad, nomad: Nomad) -> None:
    odd.says = json.dumps([{**CHILD, "Meta": None, "JobSummary": {"Summary": None}}])
    (child,) = await nomad.children("holder-")
    assert (child.meta, child.waiting) == ({}, 0)


async def test_meta_of_any_size_is_read(odd: OddNomad, nomad: Nomad) -> None:
    odd.says = json.dumps([{**CHILD, "Meta": {"index": "9" * 10**6, "horde": "h", "é": "\x00"}}])
    (child,) = await nomad.children("holder-")
    assert len(child.meta["index"]) == 10**6
