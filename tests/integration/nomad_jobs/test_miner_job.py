"""The miner's job on a real node: its container, secrets, ports, and its service in a real Consul.

Only what the agents' image would bring is another's: the image, its program and its user.
"""

import json
import urllib.request
from typing import Any

import pytest

from horde_agents.testing.consul_server import ConsulServer
from tests.integration.nomad_jobs.conftest import TOKEN, GpuNode, until
from tools.nomad_specs import parsed

pytestmark = pytest.mark.docker

URL = "postgresql://u:p&q@db/horde"
#: Says what the container is like, then answers /healthz and /readyz.
PROGRAM = """
id -u; ls -ln /secrets; cat /secrets/miner.toml; cat /secrets/hotkey; cat /secrets/consul_ca
echo consul token $(cat /secrets/consul.token)
grep -E 'CapBnd|NoNewPrivs' /proc/self/status
touch /x; touch /scratch/x && echo scratch is writable; mkdir "$HORDE_MINER_DATA_DIR" && echo data is writable
mkdir /scratch/www; echo ok >/scratch/www/healthz; echo ok >/scratch/www/readyz
echo listens on $HORDE_MINER_OPERATOR_HOST, $HORDE_MINER_PORT, $HORDE_MINER_EXECUTOR_PORT
exec busybox httpd -f -p $HORDE_MINER_OPERATOR_HOST:$HORDE_MINER_OPERATOR_PORT -h /scratch/www
"""


def stand_in(job_image: str) -> dict[str, Any]:
    given = {"uid": 7, "image": job_image, "port": 0, "secret_files": ["consul_ca"]}
    job = parsed("miner", {**given, "executor_port": 28443})
    job["NodePool"] = "horde-gpu"  # the only node here
    job["Update"]["MinHealthyTime"] = 10**9
    (group,) = job["TaskGroups"]
    for check in group["Services"][0]["Checks"]:
        check["Interval"] = 10**9
    (task,) = group["Tasks"]
    task["User"] = "10001:10001"
    task["Config"] |= {"entrypoint": ["sh", "-c", PROGRAM], "args": []}
    task["Config"]["mount"][0]["target"] = "/scratch"  # runc keeps the mode of a directory that is there
    return job


def asked(consul: ConsulServer, path: str, token: str) -> Any:
    request = urllib.request.Request(f"{consul.url}/v1/{path}", headers={"X-Consul-Token": token})
    with urllib.request.urlopen(request, timeout=5) as reply:
        return json.loads(reply.read())


def test_miner_runs_without_rights_reads_its_secrets_and_is_found_in_consul(
    gpu_node: GpuNode, locked_consul: ConsulServer, job_image: str
) -> None:
    items = {"hotkey": '{"secretSeed": "0x01"}\n', "database_url": f"{URL}\n", "consul_ca": "the authority\n"}
    gpu_node.call("PUT", "var/nomad/jobs/miner-7", {"Items": items})
    gpu_node.run(stand_in(job_image))

    def deployed() -> bool:
        allocation = gpu_node.allocation("miner-7")
        if allocation and (allocation["TaskStates"] or {}).get("miner", {}).get("Restarts"):
            pytest.fail(f"it ended: {gpu_node.log('miner-7', 'miner', 'stderr')}")
        states = [each["Status"] for each in gpu_node.call("GET", "job/miner-7/deployments")]
        assert "failed" not in states, gpu_node.log("miner-7", "miner", "stderr")
        return states == ["successful"]

    until(deployed, "the deployment of miner-7 is healthy by both checks", wait_s=50)
    said = gpu_node.log("miner-7", "miner").splitlines()
    assert said[0] == "10001"
    modes = {line.split()[-1]: (line.split()[0], line.split()[2]) for line in said if line.startswith("-r")}
    for file in ("hotkey", "miner.toml", "consul_ca", "consul.token"):
        assert modes[file] == ("-r--------", "10001"), modes
    assert f"database_url = {json.dumps(URL)}".replace("&", "\\u0026") in said
    assert '{"secretSeed": "0x01"}' in said
    assert {"CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} <= set(said)
    assert {"scratch is writable", "data is writable", "the authority"} <= set(said)
    assert "touch: /x: Read-only file system" in gpu_node.log("miner-7", "miner", "stderr")
    (listens,) = (line for line in said if line.startswith("listens"))
    address, port, executor_port = listens.removeprefix("listens on ").split(", ")
    assert (address, executor_port) == ("127.0.0.1", "28443")
    assert 20000 <= int(port) <= 32000  # Nomad's own range
    miners = asked(locked_consul, "health/service/horde-miner", TOKEN)
    (found,) = (each for each in miners if each["Service"]["Meta"]["uid"] == "7")
    assert {"horde": "horde", "version": "unknown"}.items() <= found["Service"]["Meta"].items()
    assert all(check["Status"] == "passing" for check in found["Checks"])
    (token,) = (line.split()[-1] for line in said if line.startswith("consul token"))
    (own,) = asked(locked_consul, "acl/token/self", token)["Roles"]
    assert own["Name"] == "nomad-default-tasks"
