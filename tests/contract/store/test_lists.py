"""The small nouns: access lists, nonces, facts, manifests, outboxes, users' reports."""

from datetime import timedelta
from functools import partial

from horde_agents.store import access, facts, manifests, nonces, outbox, reports
from horde_agents.store.access import Entry
from horde_agents.store.engine import Store
from tests.contract.store.rows import AT

_LATER = AT + timedelta(hours=1)


async def test_a_list_shows_the_last_word_on_each_hotkey_until_it_runs_out(store: Store) -> None:
    barred = Entry("slow", allowed=False, note="cheated", until=_LATER)
    for entry in (Entry("ann", allowed=False), Entry("ann", allowed=True), barred):
        await store.writer.run(partial(access.put, scope="submit", entry=entry))
    await store.writer.run(lambda c: access.put(c, "blacklist", Entry("bob", allowed=False)))
    async with store.reading() as connection:
        assert await access.entries(connection, "submit", AT) == {
            "ann": Entry("ann", allowed=True),
            "slow": barred,
        }
        assert set(await access.entries(connection, "submit", _LATER)) == {"ann"}
    await store.writer.run(lambda c: access.remove(c, "submit", "ann"))
    async with store.reading() as connection:
        assert set(await access.entries(connection, "submit", _LATER)) == set()


async def test_a_nonce_counts_once_even_within_one_group(store: Store) -> None:
    uses = [store.writer.queue(lambda c: nonces.use(c, "nonce", _LATER, AT)) for _ in range(3)]
    assert [await use for use in uses] == [True, False, False]
    assert await store.writer.run(lambda c: nonces.use(c, "nonce", _LATER, AT)) is False


async def test_a_nonce_is_forgotten_once_it_could_not_be_used_anyway(store: Store) -> None:
    await store.writer.run(lambda c: nonces.use(c, "old", _LATER, AT))
    after = _LATER + timedelta(seconds=1)
    assert await store.writer.run(lambda c: nonces.use(c, "old", after, after)) is True


async def test_a_fact_is_made_once(store: Store) -> None:
    made = [
        await store.writer.run(partial(facts.get_or_make, name="key", make=partial(str, n))) for n in "ab"
    ]
    assert made == ["a", "a"]
    await store.writer.run(lambda c: facts.put(c, "key", "c"))
    async with store.reading() as connection:
        assert await facts.get(connection, "key") == "c"
        assert await facts.get(connection, "none") is None


async def test_the_newest_manifest_of_a_miner_replaces_the_one_before(store: Store) -> None:
    await store.writer.run(lambda c: manifests.replace(c, "ann", {"small": 3, "large": 1}, AT))
    await store.writer.run(lambda c: manifests.replace(c, "ann", {"small": -2}, _LATER))
    await store.writer.run(lambda c: manifests.replace(c, "bob", {"large": 2}, AT))
    async with store.reading() as connection:
        assert await manifests.newest(connection, AT) == {"ann": {"small": 0}, "bob": {"large": 2}}
        assert await manifests.newest(connection, _LATER) == {"ann": {"small": 0}}


async def test_an_outbox_keeps_the_order_and_drops_what_was_acknowledged(store: Store) -> None:
    keep = partial(outbox.keep, peer="peer", message_json="{}", at=AT)
    kept = [await store.writer.run(partial(keep, subject_uuid=f"job-{number}")) for number in range(4)]
    await store.writer.run(lambda c: outbox.keep(c, "another peer", "job", "{}", AT))
    await store.writer.run(lambda c: outbox.drop(c, kept[2].id))
    async with store.reading() as connection:
        assert await outbox.waiting(connection, "peer") == [kept[0], kept[1], kept[3]]
        assert len(await outbox.waiting(connection, "another peer")) == 1


async def test_a_job_is_judged_once(store: Store) -> None:
    details = {"what": ["ü", 1]}
    reported = [
        await store.writer.run(lambda c: reports.add_cheat_report(c, "job", "trusted", details, {}, AT))
        for _ in range(2)
    ]
    judge = partial(reports.add_feedback, job_uuid="job", expected_s=None, at=AT)
    judged = [await store.writer.run(partial(judge, result_correctness=value)) for value in (0.5, 1.0)]
    assert (reported, judged) == ([True, False], [True, False])
    async with store.reading() as connection:
        found = await reports.load_feedback(connection, "job")
        assert found == {"result_correctness": 0.5, "expected_duration": None}
        assert await reports.load_feedback(connection, "another") is None
