"""How set-up comes by a Docker daemon, and what it says when it cannot."""

from dataclasses import replace

import pytest

from tools.setup.docker_daemon import DockerFacts, plan
from tools.setup.progress import SetupFailed

_ROOT_WITHOUT_DAEMON = DockerFacts(
    answers=False, host=None, root=True, systemd=False, said="connection refused"
)


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("host", [None, "tcp://elsewhere:2375"])
def test_daemon_that_answers_is_used_as_it_is(root: bool, host: str | None) -> None:
    assert plan(replace(_ROOT_WITHOUT_DAEMON, answers=True, root=root, host=host)) == "use"


def test_root_starts_a_daemon_where_no_init_system_runs() -> None:
    assert plan(_ROOT_WITHOUT_DAEMON) == "dockerd"


def test_init_system_is_asked_where_one_runs() -> None:
    assert plan(replace(_ROOT_WITHOUT_DAEMON, systemd=True)) == "systemctl"


def test_silent_docker_host_is_named_and_no_daemon_is_started_beside_it() -> None:
    with pytest.raises(SetupFailed, match=r"DOCKER_HOST is tcp://elsewhere:2375 .*connection refused.*unset"):
        plan(replace(_ROOT_WITHOUT_DAEMON, host="tcp://elsewhere:2375"))


@pytest.mark.parametrize(
    ("systemd", "remedy"), [(True, "sudo systemctl start docker"), (False, "sudo python3.11 -m tools.setup")]
)
def test_user_without_rights_is_told_what_to_run(systemd: bool, remedy: str) -> None:
    with pytest.raises(SetupFailed, match="connection refused") as refused:
        plan(replace(_ROOT_WITHOUT_DAEMON, root=False, systemd=systemd))
    assert remedy in str(refused.value)
