"""Input volumes and output uploads on the wire; model key order is signature order (wire notes F.1, F.2)."""

from typing import Annotated, Literal

from pydantic import Field

from horde_agents.jobs import spec
from horde_agents.protocol.frames import OpenMessage
from horde_agents.protocol.paths import OptionalRelativePath, RelativePath


class InlineVolume(OpenMessage):
    volume_type: Literal["inline"] = "inline"
    contents: str = Field(repr=False)
    relative_path: OptionalRelativePath = None


class ZipUrlVolume(OpenMessage):
    volume_type: Literal["zip_url"] = "zip_url"
    contents: str
    relative_path: OptionalRelativePath = None


class SingleFileVolume(OpenMessage):
    volume_type: Literal["single_file"] = "single_file"
    url: str
    relative_path: RelativePath


class HuggingfaceVolume(OpenMessage):
    volume_type: Literal["huggingface_volume"] = "huggingface_volume"
    repo_id: str
    repo_type: str | None = None
    revision: str | None = None
    relative_path: OptionalRelativePath = None
    allow_patterns: str | list[str] | None = None
    token: str | None = Field(default=None, repr=False)


SingleVolume = Annotated[
    InlineVolume | ZipUrlVolume | SingleFileVolume | HuggingfaceVolume, Field(discriminator="volume_type")
]


class MultiVolume(OpenMessage):
    volume_type: Literal["multi_volume"] = "multi_volume"
    volumes: list[SingleVolume]


Volume = Annotated[
    InlineVolume | ZipUrlVolume | SingleFileVolume | HuggingfaceVolume | MultiVolume,
    Field(discriminator="volume_type"),
]


class SingleFilePostUpload(OpenMessage):
    output_upload_type: Literal["single_file_post"] = "single_file_post"
    url: str = Field(repr=False)
    form_fields: dict[str, str] | None = Field(default=None, repr=False)
    relative_path: RelativePath
    signed_headers: dict[str, str] | None = Field(default=None, repr=False)


class SingleFilePutUpload(OpenMessage):
    output_upload_type: Literal["single_file_put"] = "single_file_put"
    url: str = Field(repr=False)
    relative_path: RelativePath
    signed_headers: dict[str, str] | None = Field(default=None, repr=False)


class ZipPostUpload(OpenMessage):
    output_upload_type: Literal["zip_and_http_post"] = "zip_and_http_post"
    url: str = Field(repr=False)
    form_fields: dict[str, str] | None = Field(default=None, repr=False)


class ZipPutUpload(OpenMessage):
    output_upload_type: Literal["zip_and_http_put"] = "zip_and_http_put"
    url: str = Field(repr=False)


SingleUpload = Annotated[
    SingleFilePostUpload | SingleFilePutUpload, Field(discriminator="output_upload_type")
]
ZipUpload = Annotated[ZipPostUpload | ZipPutUpload, Field(discriminator="output_upload_type")]


class MultiUpload(OpenMessage):
    output_upload_type: Literal["multi_upload"] = "multi_upload"
    uploads: list[SingleUpload]
    system_output: ZipUpload | None = None


Upload = Annotated[
    SingleFilePostUpload | SingleFilePutUpload | ZipPostUpload | ZipPutUpload | MultiUpload,
    Field(discriminator="output_upload_type"),
]


def volumes_of(volume: Volume | None) -> tuple[spec.Volume, ...]:
    """What the executor unpacks, in order."""
    if volume is None:
        return ()
    singles = volume.volumes if isinstance(volume, MultiVolume) else [volume]
    return tuple(_volume(single) for single in singles)


def uploads_of(upload: Upload | None) -> tuple[tuple[spec.Upload, ...], spec.Upload | None]:
    """What the executor uploads, and where the whole output goes besides."""
    if upload is None:
        return (), None
    if isinstance(upload, MultiUpload):
        system = _upload(upload.system_output) if upload.system_output else None
        return tuple(_upload(single) for single in upload.uploads), system
    return (_upload(upload),), None


def _volume(wire: InlineVolume | ZipUrlVolume | SingleFileVolume | HuggingfaceVolume) -> spec.Volume:
    match wire:
        case InlineVolume():
            return spec.InlineVolume(wire.contents, wire.relative_path or "")
        case ZipUrlVolume():
            return spec.ZipVolume(wire.contents, wire.relative_path or "")
        case SingleFileVolume():
            return spec.FileVolume(wire.url, wire.relative_path)
        case HuggingfaceVolume():
            patterns = [wire.allow_patterns] if isinstance(wire.allow_patterns, str) else wire.allow_patterns
            return spec.HuggingFaceVolume(
                wire.repo_id,
                wire.repo_type,
                wire.revision,
                wire.relative_path or "",
                tuple(patterns or ()),
                wire.token,
            )


def _upload(wire: SingleFilePostUpload | SingleFilePutUpload | ZipPostUpload | ZipPutUpload) -> spec.Upload:
    match wire:
        case SingleFilePostUpload():
            return spec.FilePost(
                wire.url, wire.relative_path, wire.form_fields or {}, wire.signed_headers or {}
            )
        case SingleFilePutUpload():
            return spec.FilePut(wire.url, wire.relative_path, wire.signed_headers or {})
        case ZipPostUpload():
            return spec.ZipPost(wire.url, wire.form_fields or {})
        case ZipPutUpload():
            return spec.ZipPut(wire.url)
