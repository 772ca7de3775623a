"""Run by the published miner client's own Python: a job at a miner, then its receipt pages, as JSON.

Arguments: miner hotkey, port, seed of the validator's key (hex), image.
"""

import asyncio
import json
import sys
import tempfile
import time
import uuid

import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "compute_horde.receipts"],
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{tempfile.mkdtemp()}/db"}},
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "receipts_checkpoints": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    },
    RECEIPT_TRANSFER_CHECKPOINT_CACHE="receipts_checkpoints",
)
django.setup()
call_command("migrate", verbosity=0, run_syncdb=True)

import aiohttp  # noqa: E402
from bittensor_wallet import Keypair  # noqa: E402
from compute_horde.miner_client.organic import (  # noqa: E402
    OrganicJobDetails,
    OrganicMinerClient,
    execute_organic_job_on_miner,
)
from compute_horde.receipts.transfer import ReceiptsTransfer  # noqa: E402
from compute_horde_core.executor_class import ExecutorClass  # noqa: E402


async def main(miner_hotkey: str, port: int, seed: str, image: str) -> None:
    job_uuid = str(uuid.uuid4())
    client = OrganicMinerClient(
        miner_hotkey=miner_hotkey,
        miner_address="127.0.0.1",
        miner_port=port,
        job_uuid=job_uuid,
        my_keypair=Keypair.create_from_seed("0x" + seed),
    )
    details = OrganicJobDetails(
        job_uuid=job_uuid,
        executor_class=ExecutorClass.always_on__test,
        docker_image=image,
        job_timing=OrganicJobDetails.TimingDetails(5, 10, 20, 10, 5),
        docker_run_options_preset="none",
        docker_run_cmd=["sh", "-c", "echo from a stock client; echo art > /artifacts/a"],
        artifacts_dir="/artifacts",
        allowance_blocks=[11, 12],
        allowance_job_value=40,
    )
    stdout, _stderr, artifacts, _uploads = await execute_organic_job_on_miner(client, details, 7, 10)
    kinds: set[str] = set()
    errors: list[str] = []
    deadline = time.time() + 20
    async with aiohttp.ClientSession() as session:
        transfer = ReceiptsTransfer(f"http://127.0.0.1:{port}/receipts")
        while len(kinds) < 3 and time.time() < deadline:
            now = int(time.time()) // 300
            for page in (now - 1, now):
                receipts, broken = await transfer.get_new_receipts_on_page(
                    page=page, session=session, timeout=3
                )
                kinds |= {r.payload.receipt_type.value for r in receipts if r.payload.job_uuid == job_uuid}
                errors += [str(error) for error in broken]
            await asyncio.sleep(0.1)
    json.dump(
        {"stdout": stdout, "artifacts": artifacts, "receipts": sorted(kinds), "errors": errors}, sys.stdout
    )


asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
