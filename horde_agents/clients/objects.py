"""An S3 store: botocore signs and reads answers, aiohttp carries them with every size and time bounded.

Errors, by remedy::

    ObjectsFault
    ├── ObjectsAway       down, too slow, or no S3 server's answer: the store's operator must mend it
    ├── ObjectsRefused    credentials, permission, signature or name: correct the ``objects_*`` settings
    ├── ObjectMissing     no such object: who was to write it has not
    └── ObjectTooLarge    longer than was allowed: who wrote it is at fault
"""

import itertools
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote

import aiohttp
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError, create_parser
from yarl import URL

_OWN_EXPIRES_S: Final = 60
_CHUNK_BYTES: Final = 64 * 1024
_ANSWER_BYTES: Final = 4 * 1024 * 1024
_MOST_REMOVED: Final = 100_000
_PAGE: Final = 1000
_DEFAULT_REGION: Final = "us-east-1"
_OWN_BUCKET_CODES: Final = ("BucketAlreadyOwnedByYou",)


class ObjectsFault(Exception):
    """The object store did not do its part."""


class ObjectsAway(ObjectsFault):
    """No answer in time, or none that an S3 server gives."""


class ObjectsRefused(ObjectsFault):
    """The store, or its signer, takes no such request of us."""


class ObjectMissing(ObjectsFault):
    """There is no such object or bucket."""


class ObjectTooLarge(ObjectsFault):
    """An object is longer than its reader allows."""


@dataclass(frozen=True, slots=True)
class ObjectsSettings:
    """Where the store is, and as whom we speak to it."""

    endpoint_url: str
    region: str
    access_key_id: str
    secret_key: str = field(repr=False)
    connect_s: float = 5.0
    call_s: float = 30.0
    """seconds for a whole call, its body included"""
    ca_file: Path | None = None
    """the authority of the store's certificate; none: those that the machine trusts"""


class Objects(Protocol):
    """What agents need of an object store; every call raises :class:`ObjectsFault`."""

    async def put(self, bucket: str, key: str, body: bytes) -> None:
        """Store ``body``."""

    async def get(self, bucket: str, key: str, max_bytes: int) -> bytes:
        """The whole object, of at most ``max_bytes``."""

    def presigned_get(self, bucket: str, key: str, expires_s: int) -> str:
        """A URL with which anyone may read this one object for a while: a secret."""

    def presigned_put(self, bucket: str, key: str, expires_s: int) -> str:
        """A URL with which anyone may write this one object for a while: a secret."""

    async def list(self, bucket: str, prefix: str, most: int) -> Sequence[str]:
        """Keys that begin with ``prefix``, at most ``most``, in order."""

    async def remove_prefix(self, bucket: str, prefix: str) -> int:
        """Remove every object below ``prefix``; how many there were."""

    async def ensure_bucket(self, bucket: str) -> None:
        """Create the bucket unless it is ours already."""

    async def close(self) -> None:
        """End its connections."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class S3Objects:
    """Any S3 server, by path-style addresses and signature v4; the bucket's objects stay private."""

    def __init__(self, settings: ObjectsSettings, http: aiohttp.ClientSession | None = None) -> None:
        self._settings, self._shared = settings, http
        with _translated(settings.endpoint_url):
            self._signer = _signer(settings)
        self._tls = _tls(settings.ca_file)
        self._parser = create_parser("rest-xml")
        self._own: aiohttp.ClientSession | None = None

    async def put(self, bucket: str, key: str, body: bytes) -> None:
        """Store ``body``."""
        await self._call("PUT", "put_object", {"Bucket": bucket, "Key": key}, body=body)

    async def get(self, bucket: str, key: str, max_bytes: int) -> bytes:
        """The whole object, of at most ``max_bytes``."""
        return (await self._call("GET", "get_object", {"Bucket": bucket, "Key": key}, most=max_bytes)).body

    def presigned_get(self, bucket: str, key: str, expires_s: int) -> str:
        """A URL with which anyone may read this one object for a while: a secret."""
        return self._signed("get_object", {"Bucket": bucket, "Key": key}, expires_s)

    def presigned_put(self, bucket: str, key: str, expires_s: int) -> str:
        """A URL with which anyone may write this one object for a while: a secret."""
        return self._signed("put_object", {"Bucket": bucket, "Key": key}, expires_s)

    async def list(self, bucket: str, prefix: str, most: int) -> Sequence[str]:
        """Keys that begin with ``prefix``, at most ``most``, in order."""
        keys: list[str] = []
        after = ""
        while len(keys) < most:
            page = await self._page(bucket, prefix, after, min(_PAGE, most - len(keys)))
            # a server that says the same page again would keep us here for ever
            fresh = sorted(key for key in page if key > after and key.startswith(prefix))
            if not fresh:
                break
            keys += fresh
            after = fresh[-1]
        return keys[:most]

    async def remove_prefix(self, bucket: str, prefix: str) -> int:
        """Remove every object below ``prefix``; how many there were."""
        if not prefix:
            raise ObjectsRefused(f"The empty prefix would empty the bucket {bucket}. Name a prefix.")
        keys = await self.list(bucket, prefix, _MOST_REMOVED)
        for key in keys:
            await self._call("DELETE", "delete_object", {"Bucket": bucket, "Key": key})
        return len(keys)

    async def ensure_bucket(self, bucket: str) -> None:
        """Create the bucket unless it is ours already."""
        try:
            await self._call("HEAD", "head_bucket", {"Bucket": bucket})
        except ObjectMissing:
            await self._create(bucket)

    async def close(self) -> None:
        """End its own connections; a session that was given stays open."""
        if self._own is not None:
            await self._own.close()
        self._signer.close()

    async def _create(self, bucket: str) -> None:
        region = self._settings.region
        body = b""
        if region != _DEFAULT_REGION:
            place = f"<LocationConstraint>{region}</LocationConstraint>"
            body = f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>".encode()
        answer = await self._exchange("PUT", "create_bucket", {"Bucket": bucket}, body=body)
        if answer.status >= 300 and self._said("CreateBucket", answer)[0] not in _OWN_BUCKET_CODES:
            raise self._fault("CreateBucket", f"s3://{bucket}", answer)

    async def _page(self, bucket: str, prefix: str, after: str, most: int) -> Sequence[str]:
        params = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": most, "EncodingType": "url"}
        if after:
            params["StartAfter"] = after
        answer = await self._call("GET", "list_objects_v2", params)
        parsed = self._parsed("ListObjectsV2", answer)
        rows = itertools.islice(parsed.get("Contents", ()), most)
        is_quoted = parsed.get("EncodingType") == "url"
        return [unquote(row["Key"]) if is_quoted else row["Key"] for row in rows if "Key" in row]

    async def _call(
        self,
        verb: str,
        call: str,
        params: Mapping[str, Any],
        *,
        body: bytes | None = None,
        most: int = _ANSWER_BYTES,
    ) -> _Answer:
        answer = await self._exchange(verb, call, params, body=body, most=most)
        if answer.status >= 300:
            operation = self._signer.meta.method_to_api_mapping[call]
            where = f"s3://{params['Bucket']}/{params.get('Key', params.get('Prefix', ''))}"
            raise self._fault(operation, where, answer)
        return answer

    async def _exchange(
        self,
        verb: str,
        call: str,
        params: Mapping[str, Any],
        *,
        body: bytes | None = None,
        most: int = _ANSWER_BYTES,
    ) -> _Answer:
        url = URL(self._signed(call, params, _OWN_EXPIRES_S), encoded=True)
        limits = aiohttp.ClientTimeout(total=self._settings.call_s, sock_connect=self._settings.connect_s)
        heads = {"Accept-Encoding": "identity"}
        sent = self._session().request(
            verb, url, data=body, headers=heads, timeout=limits, allow_redirects=False
        )
        async with _reached(self._settings.endpoint_url), sent as reply:
            # an error's text is the server's, whatever the object may be
            is_error = reply.status >= 300
            bound = max(most, _ANSWER_BYTES) if is_error else most
            try:
                content = await _bounded(reply, bound)
            except ObjectTooLarge as error:
                if is_error:
                    raise ObjectsAway(f"The object store answers an error without end: {error}") from error
                raise
            return _Answer(reply.status, dict(reply.headers), content)

    def _session(self) -> aiohttp.ClientSession:
        if self._shared is not None:
            return self._shared
        if self._own is None:
            connector = aiohttp.TCPConnector(ssl=self._tls)
            self._own = aiohttp.ClientSession(auto_decompress=False, connector=connector)
        return self._own

    def _signed(self, call: str, params: Mapping[str, Any], expires_s: int) -> str:
        with _translated(self._settings.endpoint_url):
            url = self._signer.generate_presigned_url(call, Params=dict(params), ExpiresIn=expires_s)
        return str(url)

    def _parsed(self, operation: str, answer: _Answer) -> Mapping[str, Any]:
        shape = self._signer.meta.service_model.operation_model(operation).output_shape
        heads = {name.lower(): value for name, value in answer.headers.items()}
        with _translated(self._settings.endpoint_url):
            parsed = self._parser.parse(
                {"status_code": answer.status, "headers": heads, "body": answer.body}, shape
            )
        return dict(parsed)

    def _said(self, operation: str, answer: _Answer) -> tuple[str, str]:
        try:
            error = self._parsed(operation, answer).get("Error", {})
        except ObjectsAway:  # what answers may be a proxy: its status says enough
            error = {}
        return str(error.get("Code", "")), str(error.get("Message", ""))[:200]

    def _fault(self, operation: str, where: str, answer: _Answer) -> ObjectsFault:
        code, message = self._said(operation, answer)
        endpoint = self._settings.endpoint_url
        text = f"{operation} of {where} at {endpoint}: HTTP {answer.status} {code} {message}".rstrip()
        if answer.status == 404 and (code == "NoSuchKey" or operation == "HeadBucket"):
            return ObjectMissing(text)
        # a 404 without a code is no S3 server's word, but that of something in between
        if answer.status >= 500 or answer.status == 429 or (answer.status == 404 and not code):
            return ObjectsAway(text)
        return ObjectsRefused(f"{text}. Check the objects_* settings.")


def _signer(settings: ObjectsSettings) -> Any:  # noqa: ANN401  (boto3 makes its clients' classes at run time)
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            # a checksum in the signature would bind the body that others are yet to write
            request_checksum_calculation="when_required",
        ),
    )


def _tls(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise ObjectsRefused(f"The object store's authority {ca_file} cannot be read: {error}") from error


async def _bounded(reply: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    body = bytearray()
    too_large = ObjectTooLarge(f"An answer of the object store is longer than {max_bytes} bytes.")
    if reply.method != "HEAD" and (reply.content_length or 0) > max_bytes:
        raise too_large
    async for chunk in reply.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    return bytes(body)


@asynccontextmanager
async def _reached(endpoint_url: str) -> AsyncIterator[None]:
    # texts of aiohttp may hold the signed URL, which is a secret: the kind of error is all that is said
    try:
        yield
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        kind = type(error).__name__
        raise ObjectsAway(f"The object store {endpoint_url} gave no whole answer ({kind}).") from None


@contextmanager
def _translated(endpoint_url: str) -> Iterator[None]:
    try:
        yield
    except ResponseParserError:
        raise ObjectsAway(f"What {endpoint_url} answered is not what an S3 server says.") from None
    except (BotoCoreError, ValueError) as error:
        raise ObjectsRefused(f"No request can be made for {endpoint_url}: {error}") from error
