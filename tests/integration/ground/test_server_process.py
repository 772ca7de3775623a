"""A test's server: the port it is given, and what is said when it ends."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from horde_agents.testing import server_process
from horde_agents.testing.server_process import ServerNotUp, ServerProcess, free_ports

_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_no_port_is_given_twice_nor_one_that_the_kernel_gives_to_a_connection() -> None:
    ports = [port for _ in range(50) for port in free_ports(4)]
    assert len(set(ports)) == 200
    first, last = map(int, _CONNECTIONS.read_text().split())
    assert not set(ports) & set(range(max(first, 20_000), last + 1))


def test_a_port_on_which_somebody_listens_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (free,) = free_ports(1)
        monkeypatch.setattr(server_process, "_candidates", iter([taken, free, taken]))
        assert free_ports(1) == [free]
        with pytest.raises(ServerNotUp, match="0 of 1 free ports"):
            free_ports(1)


def test_a_server_that_ended_is_named_with_the_error_that_its_log_ends_long_before(tmp_path: Path) -> None:
    program = "print('Error: bind: address already in use'); [print('shut down', n) for n in range(20)]"
    server = ServerProcess([sys.executable, "-c", program], tmp_path / "log")
    server.start()
    assert server.process is not None
    server.process.wait()
    with pytest.raises(ServerNotUp, match=r"says: Error: bind: address already in use\nshut down 15"):
        server.check_runs()


def test_a_server_that_was_frozen_does_nothing_more_until_it_goes_on(tmp_path: Path) -> None:
    program = (
        "import itertools, pathlib; [pathlib.Path('counted').write_text(str(n)) for n in itertools.count()]"
    )
    server = ServerProcess(["env", f"--chdir={tmp_path}", sys.executable, "-c", program], tmp_path / "log")
    server.start()
    assert server.process is not None
    try:
        while not (tmp_path / "counted").exists():
            server.check_runs()
        for _ in range(20):
            server.send(signal.SIGSTOP)
            state = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            assert state == "T"
            server.send(signal.SIGCONT)
    finally:
        server.kill()
