"""What an executor is asked to run, free of any wire shape.

Built by the protocol room from the messages of a miner; read by the executor's stages.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from horde_agents.jobs.budget import Limits

#: Where a job finds its input, and leaves its output, inside the container.
VOLUME_DIR: Final = "/volume"
OUTPUT_DIR: Final = "/output"


@dataclass(frozen=True, slots=True)
class InlineVolume:
    """A zip, base64 in ``contents``, unpacked below ``/volume/<relative_path>``."""

    contents: str = field(repr=False)
    relative_path: str = ""


@dataclass(frozen=True, slots=True)
class ZipVolume:
    """A zip at ``url``, unpacked below ``/volume/<relative_path>``."""

    url: str
    relative_path: str = ""


@dataclass(frozen=True, slots=True)
class FileVolume:
    """One file at ``url``, placed at ``/volume/<relative_path>``."""

    url: str
    relative_path: str


@dataclass(frozen=True, slots=True)
class HuggingFaceVolume:
    """Files of a model hub's repository, placed below ``/volume/<relative_path>``."""

    repo_id: str
    repo_type: str | None = None
    revision: str | None = None
    relative_path: str = ""
    allow_patterns: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)


Volume: TypeAlias = InlineVolume | ZipVolume | FileVolume | HuggingFaceVolume


@dataclass(frozen=True, slots=True)
class FilePost:
    """POST ``/output/<relative_path>`` as multipart form data, ``form_fields`` first."""

    url: str = field(repr=False)
    relative_path: str
    form_fields: dict[str, str] = field(default_factory=dict, repr=False)
    signed_headers: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class FilePut:
    """PUT ``/output/<relative_path>`` as raw body."""

    url: str = field(repr=False)
    relative_path: str
    signed_headers: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ZipPost:
    """POST the whole ``/output`` as ``output.zip``."""

    url: str = field(repr=False)
    form_fields: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ZipPut:
    """PUT the whole ``/output`` as ``output.zip``."""

    url: str = field(repr=False)


Upload: TypeAlias = FilePost | FilePut | ZipPost | ZipPut


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One attempt, complete: an executor needs nothing else to run it.

    ``args`` replaces the image's command and may be empty; the image's entrypoint is kept.
    ``image`` may be a tag; the executor resolves it to a digest before it runs.
    """

    uuid: str
    executor_class: str
    image: str
    args: tuple[str, ...]
    limits: Limits
    env: dict[str, str] = field(default_factory=dict, repr=False)
    volumes: tuple[Volume, ...] = ()
    uploads: tuple[Upload, ...] = ()
    system_output: Upload | None = None
    artifacts_dir: str | None = None
    gpu: bool = False
    raw_script: str | None = None
    streaming_certificate: str | None = None
