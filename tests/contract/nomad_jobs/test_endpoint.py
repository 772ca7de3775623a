"""A Nomad server parses the specs as a miner asks it to: by its HTTP interface, with variables as HCL."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from horde_agents.agents.miner.nomad.holder_jobs import class_variables, variable_file
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.testing.nomad_server import NomadServer
from tools import check_jobs
from tools.nomad_specs import parsed, spec_file


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NomadServer]:
    with check_jobs.nomad_server(tmp_path_factory.mktemp("nomad")) as running:
        yield running


@pytest.fixture(scope="module")
def nomad_url(server: NomadServer) -> str:
    return server.url


def sent(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as reply:
        answer: dict[str, Any] = json.loads(reply.read())
    return answer


@pytest.mark.parametrize("name", ["always_on.test", "always_on.gpu.a100-80gb.x4", "always_on.mig.h100-20gb"])
def test_server_makes_the_same_holder_as_the_command_line(nomad_url: str, name: str) -> None:
    given = class_variables(CATALOGUE[name])
    variables = variable_file(given)
    body = {"JobHCL": spec_file("holder").read_text(), "Variables": variables, "Canonicalize": True}
    job = sent(f"{nomad_url}/v1/jobs/parse", body)
    by_command = parsed("holder", given)
    assert job["ID"] == by_command["ID"]
    assert job["Meta"] == by_command["Meta"]
    assert job["ParameterizedJob"] == by_command["ParameterizedJob"]
    ours, theirs = (each["TaskGroups"][0]["Tasks"][0] for each in (by_command, job))
    assert theirs["Env"] == ours["Env"]
    assert theirs["Resources"]["Devices"] == ours["Resources"]["Devices"] or not ours["Resources"]["Devices"]


def test_server_takes_a_parsed_holder(nomad_url: str) -> None:
    given = class_variables(CATALOGUE["always_on.gpu.h100"])
    answer = sent(f"{nomad_url}/v1/jobs", {"Job": parsed("holder", given)})
    assert answer["JobModifyIndex"] > 0


def test_check_of_the_jobs_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_jobs.main() == 0
    assert "Nomad jobs are valid" in capsys.readouterr().out


def test_check_names_the_job_that_nomad_refuses(server: NomadServer) -> None:
    said = check_jobs.refusal(server, "gpu_probe", ["-var=node_pool=elsewhere"])
    assert said is not None
    assert said.startswith("gpu_probe -var=node_pool=elsewhere: ")
    assert 'job "gpu-probe" is in nonexistent node pool "elsewhere"' in said
