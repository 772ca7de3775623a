"""The validator's object store: each bucket gets an object that is listed, read and removed again."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final
from uuid import uuid4

from horde_agents.agents.validator.prompts.address import objects_settings
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.agents.validator.synthetic.kinds import KindNotReady
from horde_agents.cli.checks.finding import Finding, fine, wrong
from horde_agents.clients.objects import ObjectMissing, ObjectsAway, ObjectsFault, ObjectsRefused, S3Objects

_PROBE: Final = b"written by horde doctor, to be removed at once"


async def object_findings(settings: ValidatorSettings) -> AsyncIterator[Finding]:
    """Both buckets, where the settings name a store; a missing one is made, as the validator would."""
    if not settings.objects_url:
        return
    try:
        store = S3Objects(objects_settings(settings))
    except (KindNotReady, ObjectsFault) as error:
        yield wrong("object store", str(error))
        return
    try:
        for name in ("prompts_bucket", "answers_bucket"):
            yield await _bucket(store, name, getattr(settings, name))
    finally:
        await store.close()


async def _bucket(store: S3Objects, setting: str, bucket: str) -> Finding:
    """All that the validator does in the bucket; the finding is of the first step that fails."""
    folder, check = f"horde-doctor/{uuid4()}/", f"bucket {bucket}"
    step = "make the bucket or look for it"
    try:
        await store.ensure_bucket(bucket)
        step = "write"
        await store.put(bucket, f"{folder}probe", _PROBE)
        step = "read"
        read = await store.get(bucket, f"{folder}probe", len(_PROBE))
        step = "list"
        listed = await store.list(bucket, folder, 2)
        step = "delete"
        await store.remove_prefix(bucket, folder)
        left = await store.list(bucket, folder, 1)
    except ObjectsFault as error:
        with suppress(ObjectsFault):
            await store.remove_prefix(bucket, folder)
        return wrong(check, f"cannot {step}: {error} {_remedy(error, setting)}")
    if read != _PROBE or listed != [f"{folder}probe"] or left:
        said = f"what was written is not what is read, listed or removed below {folder}"
        return wrong(check, f"{said}; does something between here and {setting} keep copies?")
    return fine(check, f"objects can be written, read, listed and deleted ({setting})")


def _remedy(error: ObjectsFault, setting: str) -> str:
    match error:
        case ObjectsAway():
            return "Is the store up, and objects_url what executors reach it by?"
        case ObjectsRefused():
            return f"The key needs to list, read, write and delete in {setting}, and to make it if missing."
        case ObjectMissing():
            return f"Does {setting} name a bucket, and does something else delete its objects?"
        case _:
            return f"Does something else write into {setting}?"
