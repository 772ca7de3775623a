"""Settings of a miner that no miner can work with: refused in a sentence that shows no secret."""

from pathlib import Path

import pytest

from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.runtime.settings import SettingsWrong, load_settings


def refused(tmp_path: Path, text: str) -> str:
    file = tmp_path / "miner.toml"
    needed = 'hotkey_file = "h"\ndatabase_url = "sqlite:///x"\ndata_dir = "d"'
    file.write_text(f"{needed}\n{text}\n")
    with pytest.raises(SettingsWrong) as error:
        load_settings(MinerSettings, "miner", file, {})
    return str(error.value)


@pytest.mark.parametrize("name", ["consul_urls", "nomad_urls"])
def test_address_with_a_password_is_refused_without_showing_it(tmp_path: Path, name: str) -> None:
    said = refused(tmp_path, f'{name} = ["https://root:hunter2@10.0.0.1:8501"]')
    assert f"{name}' from" in said
    assert "use the token file" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("url", ["", "10.0.0.1:8500", "file:///etc/passwd", "http://c:8500/v1", "http://a b"])
def test_what_is_no_server_s_address_is_refused(tmp_path: Path, url: str) -> None:
    assert "host:port" in refused(tmp_path, f'consul_urls = ["{url}"]')


@pytest.mark.parametrize("count", [-5, 10**9])
def test_count_beyond_all_reason_is_refused(tmp_path: Path, count: int) -> None:
    assert f"has {count}; from -1 (all)" in refused(tmp_path, f'slots = {{"always_on.test" = {count}}}')
