"""Prints docs/operate/nomad-jobs.md from the job specs in nomad_jobs.

    python -m tools.nomad_jobs_page docs/operate/nomad-jobs.md

A test compares the page with what is printed here.
"""

import sys
from pathlib import Path
from typing import Final

from tools.nomad_specs import NAMES, SpecVariable, headline, variables

_HEAD: Final = """\
# Nomad jobs

What Horde has scheduled by Nomad, and every variable of it, printed from the job specs: `python -m tools.nomad_jobs_page
docs/operate/nomad-jobs.md`. The specs are plain HCL2 in `nomad_jobs/`; `nomad_jobs/examples/` has variables to start from, and
`make check` has Nomad validate all of them. The tests run with Nomad 1.11.3, production runs 2.0.4 or newer.

```
nomad var put nomad/jobs/miner-7 hotkey=@hotkeys/miner-7 database_url=@miner-7.database-url     # files, for arguments can be read
nomad job plan -var-file=miner-7.vars.hcl nomad_jobs/miner.nomad.hcl
nomad job run  -var-file=miner-7.vars.hcl nomad_jobs/miner.nomad.hcl
nomad job run  -var-file=images.vars.hcl  nomad_jobs/image_prefetch.nomad.hcl
nomad job run  -var run="$(date)"         nomad_jobs/gpu_probe.nomad.hcl
```

Nobody runs `holder.nomad.hcl` by hand: the miner that keeps the horde's holders registers it, once per executor class, and
dispatches it with the meta `horde`, `miners`, `index` and `generation` (and `attempt` for a holder made for one job). `nomad job
status holder-h100` lists the dispatches, `nomad job inspect` of one shows class, horde and miners.

## The agents' image

`python3.11 -m tools.setup image` builds it on Debian 12 (about two minutes, later ones under one) from Debian's Python, `requirements/runtime.txt`
with its hashes and this checkout, and pushes it to the local registry; `images/agent/Dockerfile` says what is in it. Push it on to a registry
that the agents' machines reach, and take the digest that the push prints:

```
docker tag  127.0.0.1:5001/horde/agent:1 registry.example/horde/agents:0.1.0
docker push registry.example/horde/agents:0.1.0
```

It runs as the user `horde`, number 10001, needs no capability and writes nowhere but below `/tmp` and in the allocation's directories.

## Secrets

No job carries one; whoever may read jobs reads none. Each agent's secrets are items of the Nomad variable `nomad/jobs/<job>`, which only
that job's allocations can read. They become files in the task's secrets directory, a tmpfs, with mode 0400 and owned by `user`:

| item | of | becomes |
| --- | --- | --- |
| `database_url` | all agents | `/secrets/<agent>.toml` |
| `hotkey` | validator, miner | `/secrets/hotkey`: the text of the wallet's unencrypted hotkey file |
| what `secret_files` names | all agents | `/secrets/<item>`, such as the certificates that Consul asks for |

The agent restarts when its variable changes. The miner's two tokens come from Nomad. `/secrets/nomad_token` holds as long as its allocation
and may do what the ACL policy of the job allows: `nomad acl policy apply -namespace default -job miner-7 horde-miner policy.hcl`, with
`submit-job`, `dispatch-job` and `read-job`. Who may submit jobs may run anything on gpu nodes, so give holders a namespace in which nothing
else runs. `/secrets/consul.token` comes from Consul's method `nomad-workloads` (`nomad setup consul`); Nomad puts the same token into
the task's environment, too.

## What the machines need

| where | what | why |
| --- | --- | --- |
| all clients | `max_kill_timeout` of at least `drain_s` + 15 s, and of a holder's `kill_timeout` | Nomad's default of 30 s would cut running jobs off |
| agents' machines | `host_network "loopback" { cidr = "127.0.0.0/8" }`, or another network named in `operator_network` | metrics and health listen apart from the public port |
| agents' machines | a user `horde` with the number of `user_id`, which the image has, too | else Nomad leaves a token file readable for everybody |
| agents' machines | a Consul agent, in which Nomad registers services | agents are found and checked there |
| gpu nodes | `node_pool = "horde-gpu"` and the driver `raw_exec` | holders use the node's own Docker daemon |
| gpu nodes | a user `horde` that may use Docker, and owns `/var/lib/horde/slots` | holders run as it |
| gpu nodes | NVIDIA's device plugin | it tells Nomad of the devices |

An allocation of an agent that its node's client cannot report any more is replaced when `stop_alone_after` is over: by then a copy that is
cut off has ended itself. A holder is never replaced by Nomad: what follows a lost one is the miner's decision.
"""


def nomad_jobs_page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *map(_section, NAMES)])


def _section(name: str) -> str:
    return "\n".join(
        [
            f"## {name}.nomad.hcl",
            "",
            headline(name),
            "",
            "| variable | type | default | meaning |",
            "| --- | --- | --- | --- |",
            *map(_line, variables(name)),
            "",
        ]
    )


def _line(variable: SpecVariable) -> str:
    default = "required" if variable.default is None else f"`{variable.default}`"
    cells = (f"`{variable.name}`", f"`{variable.type_name}`", default, variable.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(nomad_jobs_page())
