"""Run by the published SDK's own Python: sends jobs and prints what the SDK says of them, as JSON.

Arguments: facilitator URL, validator hotkey, seed of the user's key (hex), image, upload URL, executor class,
and ``trusted`` where the jobs are for the validator's trusted miner.
"""

import asyncio
import json
import sys

from bittensor_wallet import Keypair
from compute_horde_sdk.v1 import (
    ComputeHordeClient,
    ComputeHordeJobSpec,
    ExecutorClass,
    HTTPOutputVolume,
    InlineInputVolume,
)


async def main(
    url: str,
    validator: str,
    seed: str,
    image: str,
    upload_url: str,
    executor_class: str,
    miner: str = "",
) -> None:
    trusted = miner == "trusted"
    client = ComputeHordeClient(
        hotkey=Keypair.create_from_seed("0x" + seed),
        compute_horde_validator_hotkey=validator,
        facilitator_url=url,
    )
    spec = ComputeHordeJobSpec(
        executor_class=ExecutorClass(executor_class),
        job_namespace="SN123.0",
        docker_image=image,
        download_time_limit_sec=10,
        execution_time_limit_sec=20,
        upload_time_limit_sec=10,
        args=[
            "sh",
            "-c",
            'echo "Hellö, $NAME!" | tee /artifacts/stuff; cat /volume/in/data.txt > /output/out.txt',
        ],
        env={"NAME": "wörld", "EMPTY": ""},
        artifacts_dir="/artifacts",
        input_volumes={"/volume/in": InlineInputVolume.from_file_contents("data.txt", b"from the volume")},
        output_volumes={"/output/out.txt": HTTPOutputVolume(http_method="PUT", url=upload_url)},
    )
    job = await client.create_job(spec, on_trusted_miner=trusted)
    await job.wait(timeout=60)
    listed = [item.uuid async for item in client.iter_jobs()]
    failing = await client.create_job(
        ComputeHordeJobSpec(
            executor_class=ExecutorClass(executor_class),
            job_namespace="SN123.0",
            docker_image=image,
            download_time_limit_sec=5,
            execution_time_limit_sec=5,
            upload_time_limit_sec=5,
            args=["sh", "-c", "echo so far; exit 7"],
        ),
        on_trusted_miner=trusted,
    )
    await failing.wait(timeout=60)
    json.dump(
        {
            "uuid": job.uuid,
            "status": str(job.status.value if hasattr(job.status, "value") else job.status),
            "stdout": job.result.stdout,
            "artifacts": {path: content.decode() for path, content in job.result.artifacts.items()},
            "uploads": sorted(job.result.upload_results),
            "listed": job.uuid in listed,
            "failed_status": str(
                failing.status.value if hasattr(failing.status, "value") else failing.status
            ),
            "failed_error": str(failing.error),
            "failed_stdout": failing.result.stdout if failing.result else None,
        },
        sys.stdout,
    )


asyncio.run(main(*sys.argv[1:]))
