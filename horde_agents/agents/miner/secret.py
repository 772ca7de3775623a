"""The secret behind the tokens of executors, shared by the miners of a horde or one miner's own."""

import hashlib
import secrets

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.runtime.settings import SettingsWrong
from horde_agents.store import facts
from horde_agents.store.engine import Store


async def horde_secret(settings: MinerSettings, store: Store) -> bytes:
    """The secret of the settings' file, else one of this miner's own, made once and stored.

    Raises:
        SettingsWrong: the file cannot be read.
    """
    if settings.horde_secret_file is not None:
        try:
            return hashlib.sha256(settings.horde_secret_file.read_bytes().strip()).digest()
        except OSError as error:
            raise SettingsWrong(f"Setting 'horde_secret_file' cannot be read: {error}.") from error

    async def load(connection: AsyncConnection) -> str:
        return await facts.get_or_make(connection, "horde_secret", lambda: secrets.token_hex(32))

    return bytes.fromhex(await store.writer.run(load))
