"""Nomad as a horde runs it: TLS both ways, and nothing allowed without a token."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from horde_agents.clients.cluster_http import ClusterAddress, ServerAway, ServerDenied, ServerRefused
from horde_agents.clients.nomad import Nomad
from horde_agents.testing.certificates import nomad_certificates
from horde_agents.testing.nomad_server import NomadServer
from tests.contract.nomad.conftest import script_job
from tests.fixtures.waiting import eventually
from tools.setup.places import ROOT

MINER_POLICY = ROOT / "nomad_jobs" / "policies" / "miner.policy.hcl"
NAMESPACE = "horde"


@dataclass
class Secured:
    """One secured server and the ways into it."""

    server: NomadServer
    folder: Path

    def address(self, token: str | Path | None, **other: Path | None) -> ClusterAddress:
        ours = self.server.certificates
        assert ours is not None
        files: dict[str, Path | None] = {
            "ca_file": ours.ca,
            "certificate_file": ours.client,
            "key_file": ours.client_key,
            **other,
        }
        file = self.written(token) if isinstance(token, str) else token
        return ClusterAddress((self.server.url,), file, **files)

    def written(self, token: str) -> Path:
        path = self.folder / f"token-{uuid.uuid4()}"
        path.write_text(token + "\n")
        return path

    def miner_token(self, **more: Any) -> dict[str, Any]:
        body = {"Name": "miner", "Type": "client", "Policies": ["miner"], **more}
        token: dict[str, Any] = self.server.ask("POST", "/v1/acl/token", body)
        assert token, "Nomad makes no token"
        return token

    def delete(self, token: dict[str, Any]) -> None:
        self.server.ask("DELETE", f"/v1/acl/token/{token['AccessorID']}")

    @asynccontextmanager
    async def asking(self, address: ClusterAddress, namespace: str = NAMESPACE) -> AsyncIterator[Nomad]:
        client = Nomad(address, namespace, answer_s=5.0)
        yield client
        await client.close()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, nomad_program: Path) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    server = NomadServer(
        nomad_program,
        folder / "server",
        certificates=nomad_certificates(nomad_program, folder / "tls"),
        management_token=str(uuid.uuid4()),
    )
    server.start()
    try:
        server.wait_ready()
        server.make_node_pool()
        server.ask("POST", f"/v1/namespace/{NAMESPACE}", {"Name": NAMESPACE})
        rules = MINER_POLICY.read_text().replace("{{ namespace }}", NAMESPACE)
        server.ask("POST", "/v1/acl/policy/miner", {"Name": "miner", "Rules": rules})
        yield Secured(server, folder)
    finally:
        server.process.stop()


async def test_policy_allows_all_that_a_miner_does(secured: Secured) -> None:
    async with secured.asking(secured.address(secured.miner_token()["SecretID"])) as nomad:
        job = script_job()
        assert (await nomad.parse('job "holder-p" {\n}', ""))["ID"] == "holder-p"
        await nomad.register(job)
        child = await nomad.dispatch("holder-x", "t", {"index": "1"})
        assert [row.job_id for row in await nomad.children("holder-")] == [child.job_id]
        assert await nomad.allocations("holder-") == await nomad.allocations_of(child.job_id) == []
        assert await eventually(lambda: nomad.why_blocked(child.job_id))
        assert await nomad.nodes("horde-gpu") == []
        assert await nomad.allocation(str(uuid.uuid4())) is None
        assert await nomad.signing_keys()
        async with aclosing(nomad.events()) as events:
            await anext(events)
        await nomad.stop(child.job_id)


async def test_policy_allows_nothing_in_other_namespaces(secured: Secured) -> None:
    async with secured.asking(secured.address(secured.miner_token()["SecretID"]), "default") as nomad:
        with pytest.raises(ServerDenied, match=r"Permission denied.*Check the token and its policy"):
            await nomad.register(script_job())
        with pytest.raises(ServerDenied):
            await nomad.dispatch("holder-x", "t", {})
        with pytest.raises(ServerDenied):
            await nomad.stop("holder-x")
        with pytest.raises(ServerDenied):
            await nomad.children("holder-")


async def test_policy_allows_no_access_rules_variables_or_nodes_to_be_changed(secured: Secured) -> None:
    async with secured.asking(secured.address(secured.miner_token()["SecretID"])) as nomad:
        for method, path in [
            ("GET", "/v1/acl/tokens"),
            ("GET", f"/v1/var/nomad/jobs?namespace={NAMESPACE}"),
            ("POST", f"/v1/node/{uuid.uuid4()}/eligibility"),
            ("GET", "/v1/agent/self"),
        ]:
            with pytest.raises((ServerDenied, ServerRefused)):
                await nomad._http.ask(method, path, json={} if method == "POST" else None)


async def test_nothing_is_allowed_without_a_token(secured: Secured) -> None:
    async with secured.asking(secured.address(None)) as nomad:
        with pytest.raises(ServerDenied):
            await nomad.register(script_job())
        with pytest.raises(ServerDenied):
            await nomad.dispatch("holder-x", "t", {})


async def test_deleted_token_is_denied_with_a_remedy(secured: Secured) -> None:
    token = secured.miner_token()
    async with secured.asking(secured.address(token["SecretID"])) as nomad:
        await nomad.children("holder-")
        secured.delete(token)
        with pytest.raises(ServerDenied, match=r"Check the token and its policy"):
            await nomad.children("holder-")
        with pytest.raises(ServerDenied, match=r"Check the token and its policy"):
            await nomad.dispatch("holder-x", "t", {})


async def test_expired_token_is_denied_with_a_remedy(secured: Secured) -> None:
    token = secured.miner_token(ExpirationTTL="1s")
    async with secured.asking(secured.address(token["SecretID"])) as nomad:

        async def denied() -> bool:
            try:
                await nomad.children("holder-")
            except ServerDenied as error:
                return "Check the token" in str(error)
            return False

        await eventually(denied)


async def test_renewed_token_is_used_without_a_restart(secured: Secured) -> None:
    old, new = secured.miner_token(), secured.miner_token()
    file = secured.written(old["SecretID"])
    async with secured.asking(secured.address(file)) as nomad:
        await nomad.children("holder-")
        secured.delete(old)
        file.write_text(new["SecretID"] + "\n")
        await nomad.register(script_job("holder-renewed"))
        await nomad.dispatch("holder-renewed", "t", {})


async def test_missing_token_file_is_named(secured: Secured, tmp_path: Path) -> None:
    async with secured.asking(secured.address(tmp_path / "none")) as nomad:
        with pytest.raises(ServerDenied, match=r"token file of Nomad cannot be read.*none"):
            await nomad.children("holder-")


async def test_environment_gives_neither_address_nor_token(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = secured.address(secured.miner_token()["SecretID"])
    monkeypatch.setenv("NOMAD_TOKEN", secured.server.management_token)
    monkeypatch.setenv("NOMAD_ADDR", "http://127.0.0.1:1")
    monkeypatch.setenv("NOMAD_NAMESPACE", "default")
    monkeypatch.setenv("NOMAD_SKIP_VERIFY", "true")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with secured.asking(secured.address(None)) as nomad:
        with pytest.raises(ServerDenied):
            await nomad.register(script_job())
    async with secured.asking(ours) as nomad:
        assert await nomad.children("none") == []


async def test_server_of_another_authority_is_not_spoken_to(
    secured: Secured, tmp_path: Path, nomad_program: Path
) -> None:
    others = nomad_certificates(nomad_program, tmp_path)
    token = secured.server.management_token
    for address in (secured.address(token, ca_file=others.ca), secured.address(token, ca_file=None)):
        async with secured.asking(address) as nomad:
            with pytest.raises(ServerAway, match=r"(?i)certificate.verify.failed"):
                await nomad.children("holder-")
            with pytest.raises(ServerAway, match=r"(?i)certificate.verify.failed"):
                await nomad.dispatch("holder-x", "t", {})


async def test_client_without_a_certificate_is_sent_away(secured: Secured) -> None:
    bare = secured.address(secured.server.management_token, certificate_file=None, key_file=None)
    async with secured.asking(bare) as nomad:
        with pytest.raises(ServerAway):
            await nomad.children("holder-")


async def test_missing_certificate_file_is_named(secured: Secured, tmp_path: Path) -> None:
    async with secured.asking(secured.address("any", ca_file=tmp_path / "none.pem")) as nomad:
        with pytest.raises(ServerDenied, match=r"cannot be read.*none.pem"):
            await nomad.children("holder-")
        with pytest.raises(ServerDenied, match=r"cannot be read.*none.pem"):
            await nomad.dispatch("holder-x", "t", {})
