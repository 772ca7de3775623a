"""Where the validator's settings say that prompts and answers are kept."""

from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.agents.validator.synthetic.kinds import KindNotReady
from horde_agents.clients.objects import ObjectsSettings


def objects_settings(settings: ValidatorSettings) -> ObjectsSettings:
    """The object store, and as whom the validator speaks to it.

    Raises:
        KindNotReady: a setting is missing, or the secret cannot be read.
    """
    if not settings.objects_url or settings.objects_secret_file is None:
        raise KindNotReady("llm_prompts needs the settings objects_url and objects_secret_file.")
    try:
        secret = settings.objects_secret_file.read_text().strip()
    except (OSError, ValueError) as error:
        raise KindNotReady(f"The file of setting objects_secret_file cannot be read: {error}") from error
    return ObjectsSettings(
        settings.objects_url,
        settings.objects_region,
        settings.objects_access_key_id,
        secret,
        call_s=settings.objects_call_s,
        ca_file=settings.objects_ca_file,
    )
