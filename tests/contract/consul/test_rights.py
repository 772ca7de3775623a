"""What tokens and certificates allow, at a server that denies by default."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from horde_agents.clients.cluster_http import ClusterAddress
from horde_agents.clients.consul import ConsulCoordination
from horde_agents.clients.consul_catalogue import ConsulCatalogue, Service
from horde_agents.clients.consul_connection import ConsulConnection
from horde_agents.placement.coordination import (
    CoordinationAway,
    CoordinationDenied,
    Delete,
    Held,
    Put,
)
from horde_agents.placement.records import Keys
from horde_agents.testing.certificates import consul_certificates
from tests.contract.consul.conftest import Secured
from tests.fixtures.waiting import eventually


@dataclass
class Miner:
    """A miner's client, with the policy that the project ships."""

    store: ConsulCoordination
    token_file: Path
    accessor: str
    keys: Keys


@pytest.fixture
async def miner(secured: Secured, admin: ConsulConnection) -> AsyncIterator[Miner]:
    token = await secured.miner_token(admin, "ours")
    token_file = secured.written(token["SecretID"])
    store = ConsulCoordination(secured.address(token_file))
    yield Miner(store, token_file, token["AccessorID"], Keys("ours"))
    await store.close()


@pytest.fixture
async def operator(secured: Secured) -> AsyncIterator[ConsulCoordination]:
    store = ConsulCoordination(secured.address(secured.management))
    yield store
    await store.close()


async def test_miner_may_do_all_that_its_placement_needs(
    miner: Miner, operator: ConsulCoordination, secured: Secured
) -> None:
    keys, store = miner.keys, miner.store
    await operator.commit([Put(keys.dance, "1", None), Put(keys.uid("5F"), "{}", None)])
    session = await store.open_session("miner", 10, ephemeral=True)
    assert await store.acquire(keys.member("5F"), "{}", session)
    assert await store.acquire(keys.role("choreographer"), "5F", session)
    await store.renew(session)
    snapshot = await store.snapshot(keys.prefix)
    assert keys.uid("5F") in snapshot.entries
    fence = Held(keys.role("choreographer"), session)
    assert await store.commit(
        [
            fence,
            Put(keys.slot("node-cpu-0"), "{}", None),
            Put(f"{keys.history}{uuid.uuid4()}", "{}", 0),
            Put(keys.last_dance, "7", None),
            Put(keys.report("always_on.test"), "{}", None),
            Put(keys.main_hotkey, "{}", None),
            Delete(keys.dance, snapshot.entries[keys.dance].index),
        ]
    )
    assert (await store.changed(keys.prefix, snapshot.index, 5)).index > snapshot.index
    assert (await store.snapshot(keys.history)).entries
    await store.release(keys.role("choreographer"), session)
    await store.close_session(session)
    catalogue = ConsulCatalogue(secured.address(miner.token_file))
    service = Service("horde-miner", "miner-5F", "127.0.0.1", 9, "http://127.0.0.1:9/health")
    await catalogue.register(service)
    await eventually(lambda: catalogue.shows(service))
    await catalogue.deregister(service.service_id)
    await catalogue.close()


@pytest.mark.parametrize(
    "key", ["horde/theirs/slots/a", "horde/ours/uids/5F", "horde/ours/pool/a", "vault/a"]
)
async def test_write_without_the_right_is_denied(miner: Miner, key: str) -> None:
    with pytest.raises(CoordinationDenied, match="policy"):
        await miner.store.commit([Put(key, "x", None)])
    session = await miner.store.open_session("miner", 10, ephemeral=True)
    with pytest.raises(CoordinationDenied, match="policy"):
        await miner.store.acquire(key, "x", session)


async def test_hidden_keys_are_denied_and_not_an_empty_horde(
    miner: Miner, operator: ConsulCoordination
) -> None:
    await operator.commit([Put("horde/theirs/slots/a", "x", None)])
    with pytest.raises(CoordinationDenied, match="hides keys below horde/theirs/"):
        await miner.store.snapshot("horde/theirs/")
    with pytest.raises(CoordinationDenied, match="hides keys"):
        await miner.store.changed("horde/", 1, 0.1)


async def test_other_services_are_not_the_miners_to_register(miner: Miner, secured: Secured) -> None:
    catalogue = ConsulCatalogue(secured.address(miner.token_file))
    with pytest.raises(CoordinationDenied):
        await catalogue.register(Service("vault", "vault-1", "127.0.0.1", 9, "http://127.0.0.1:9/"))
    await catalogue.close()


async def test_deleted_token_is_denied_everywhere(miner: Miner, admin: ConsulConnection) -> None:
    session = await miner.store.open_session("miner", 10, ephemeral=True)
    await admin.call(lambda consul: consul.acl.token.delete(miner.accessor))
    with pytest.raises(CoordinationDenied):
        await miner.store.snapshot(miner.keys.prefix)
    with pytest.raises(CoordinationDenied):
        await miner.store.commit([Put(miner.keys.slot("a"), "x", None)])
    with pytest.raises(CoordinationDenied):
        await miner.store.renew(session)
    with pytest.raises(CoordinationDenied):
        await miner.store.acquire(miner.keys.slot("a"), "x", session)
    with pytest.raises(CoordinationDenied):
        await miner.store.open_session("miner", 10, ephemeral=True)


async def test_rotated_token_counts_from_the_next_call(
    miner: Miner, secured: Secured, admin: ConsulConnection
) -> None:
    await miner.store.snapshot(miner.keys.prefix)
    fresh = await secured.miner_token(admin, "ours")
    await admin.call(lambda consul: consul.acl.token.delete(miner.accessor))
    miner.token_file.write_text("")  # a renewal under way
    with pytest.raises(CoordinationDenied):
        await miner.store.snapshot(miner.keys.prefix)
    miner.token_file.write_text(fresh["SecretID"])
    await miner.store.snapshot(miner.keys.prefix)


@pytest.mark.parametrize("content", [None, "", "two\nlines", "sécret"])
async def test_token_file_without_a_token_is_said_to_be_so(
    secured: Secured, tmp_path: Path, content: str | None
) -> None:
    token_file = tmp_path / "token"
    if content is not None:
        token_file.write_text(content)
    store = ConsulCoordination(secured.address(token_file))
    with pytest.raises(CoordinationDenied, match=r"token file of Consul cannot be read: .*token"):
        await store.snapshot("horde/")
    await store.close()


async def test_environment_does_not_lend_its_token_or_address(
    secured: Secured, miner: Miner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", secured.server.management_token)
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "nowhere:not-a-port")
    monkeypatch.setenv("CONSUL_HTTP_SSL_VERIFY", "false")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    store = ConsulCoordination(secured.address(miner.token_file))
    session = await store.open_session("miner", 10, ephemeral=True)
    with pytest.raises(CoordinationDenied):
        await store.acquire("vault/a", "x", session)
    with pytest.raises(CoordinationDenied):
        await store.commit([Put("vault/a", "x", None)])
    await store.close()
    nobody = ConsulCoordination(secured.address(None))
    with pytest.raises(CoordinationDenied):
        await nobody.open_session("miner", 10, ephemeral=True)
    await nobody.close()


async def _refused(address: ClusterAddress, why: str) -> None:
    store = ConsulCoordination(address)
    with pytest.raises(CoordinationAway, match=why):
        await store.snapshot("horde/")
    with pytest.raises(CoordinationAway, match=why):
        await store.open_session("miner", 10, ephemeral=True)
    await store.close()


async def test_server_of_another_authority_is_not_spoken_to(
    secured: Secured, tmp_path: Path, consul_program: Path
) -> None:
    others = consul_certificates(consul_program, tmp_path)
    await _refused(secured.address(secured.management, ca_file=others.ca), "certificate verify failed")
    await _refused(secured.address(secured.management, ca_file=None), "certificate verify failed")


async def test_client_without_a_certificate_is_sent_away(
    secured: Secured, tmp_path: Path, consul_program: Path
) -> None:
    without = secured.address(secured.management, certificate_file=None, key_file=None)
    await _refused(without, "does not answer")
    others = consul_certificates(consul_program, tmp_path)
    foreign = secured.address(secured.management, certificate_file=others.client, key_file=others.client_key)
    await _refused(foreign, "does not answer")


async def test_missing_certificate_file_is_named(secured: Secured, tmp_path: Path) -> None:
    store = ConsulCoordination(secured.address(secured.management, ca_file=tmp_path / "none.pem"))
    with pytest.raises(CoordinationDenied, match=r"cannot be read .*none.pem"):
        await store.snapshot("horde/")
    await store.close()


async def test_renewed_certificates_count_in_a_client_that_runs(
    secured: Secured, tmp_path: Path, consul_program: Path
) -> None:
    ours, others = secured.server.certificates, consul_certificates(consul_program, tmp_path / "others")
    assert ours is not None
    files = {name: tmp_path / name for name in ("ca_file", "certificate_file", "key_file")}

    def write(ca: Path, certificate: Path, key: Path) -> None:
        for file, source in zip(files.values(), (ca, certificate, key), strict=True):
            file.write_bytes(source.read_bytes())

    write(others.ca, others.client, others.client_key)
    store = ConsulCoordination(secured.address(secured.management, **files))
    with pytest.raises(CoordinationAway):
        await store.snapshot("horde/")
    write(ours.ca, ours.client, ours.client_key)
    await store.snapshot("horde/")
    write(ours.ca, ours.client, others.client_key)  # half of the next renewal
    await store.snapshot("horde/")
    files["key_file"].unlink()
    await store.snapshot("horde/")
    await store.close()
