"""What doctor says of a running miner."""

from pathlib import Path

import aiohttp
import pytest

from tests.integration.doctor.conftest import Doctor
from tests.integration.miner.conftest import Miner, serving


async def forged(miner: Miner) -> None:
    """Knock with a token that this miner did not issue."""
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with miner.executor(token="forged"):
            pass


async def test_miner_that_is_not_there_is_named(doctor: Doctor) -> None:
    assert "is it running" in await doctor.wrong("agent 127.0.0.1:9", operator_port=9)


async def test_executor_that_the_miner_refused_is_named_with_the_reason(
    doctor: Doctor, tmp_path: Path
) -> None:
    (tmp_path / "miner").mkdir()
    async with serving(tmp_path / "miner") as miner:
        await forged(miner)
        said = await doctor.wrong("refused", operator_port=miner.running.operator_port)
        assert said.startswith("executor of an unknown slot at 127.0.0.1")
        assert "token" in said
        async with miner.executor():
            found = await doctor.look(operator_port=miner.running.operator_port)
            assert not [each for each in found if each["check"] == "refused"]
        url = f"http://127.0.0.1:{miner.running.operator_port}/executors"
        async with miner.http.get(url) as reply:
            assert (await reply.json())["expected"] == {"always_on.test": 1}
