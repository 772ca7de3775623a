"""Makes the buckets that are missing and tries that each user can use its own and nobody else's.

Standard library only.

    python3 buckets.py < asked.json

Reads one JSON object: `endpoint`, `region`, `ca` (a file; empty: the machine's own authorities) and `users`,
each with `access_key_id`, `secret_key` and `buckets`. Prints `made BUCKET` for each that it made; what is
wrong is a sentence, with status 1.
"""

import hashlib
import hmac
import http.client
import json
import ssl
import sys
import time
import uuid
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

_WAIT_S = 30.0


class StoreWrong(Exception):
    """The store does not do what it has to; the text says what."""


@dataclass(frozen=True)
class User:
    """Who asks; nobody has neither."""

    access_key_id: str
    secret_key: str


NOBODY = User("", "")


@dataclass(frozen=True)
class Store:
    """An S3 endpoint."""

    endpoint: str
    region: str
    ca: str

    def ask(
        self, user: User, method: str, path: str, query: str = "", body: bytes = b""
    ) -> tuple[int, bytes]:
        """Status and body of the answer; paths have the bucket first."""
        address = urlsplit(self.endpoint)
        connection: http.client.HTTPConnection
        if address.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca or None)
            connection = http.client.HTTPSConnection(address.netloc, timeout=_WAIT_S, context=context)
        else:
            connection = http.client.HTTPConnection(address.netloc, timeout=_WAIT_S)
        headers = self._signed(user, method, address.netloc, path, query, body) if user is not NOBODY else {}
        connection.request(method, quote(path) + (f"?{query}" if query else ""), body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def _signed(
        self, user: User, method: str, host: str, path: str, query: str, body: bytes
    ) -> dict[str, str]:
        """The headers of AWS's signature, version 4."""
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": now}
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        asked = "\n".join([method, quote(path), query, lines, names, digest])
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(asked.encode()).hexdigest()])
        key = f"AWS4{user.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        given = f"Credential={user.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        return {**headers, "Authorization": f"AWS4-HMAC-SHA256 {given}"}


def wait_until_it_answers(store: Store) -> None:
    """Whatever it answers to whom it does not know."""
    end = time.monotonic() + _WAIT_S
    while True:
        try:
            store.ask(NOBODY, "GET", "/")
        except ssl.SSLCertVerificationError as error:
            raise StoreWrong(
                f"{store.endpoint} has a certificate that is not trusted: {error.verify_message}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > end:
                raise StoreWrong(f"{store.endpoint} does not answer: {error!r}") from error
            time.sleep(0.5)
        else:
            return


def have_bucket(store: Store, user: User, bucket: str) -> bool:
    """Make it unless it is there; say whether it was made."""
    status, _ = store.ask(user, "HEAD", f"/{bucket}")
    if status == 200:
        return False
    if status == 404:
        status, said = store.ask(user, "PUT", f"/{bucket}", body=_place(store.region))
        if status == 200:
            return True
        why = said.decode(errors="replace")[:300]
        raise StoreWrong(f"{user.access_key_id} cannot make the bucket {bucket}: {status} {why}")
    raise StoreWrong(
        f"{user.access_key_id} may not use the bucket {bucket} ({status}); "
        "it is another's, or the key is wrong"
    )


def try_bucket(store: Store, user: User, bucket: str, strangers: list[User]) -> None:
    """Write, read, list and delete an object as ``user``; all others are refused."""
    name, content = f".horde-verify/{uuid.uuid4()}", uuid.uuid4().bytes
    path = f"/{bucket}/{name}"
    _expect(store.ask(user, "PUT", path, body=content), 200, f"{user.access_key_id} writes to {bucket}")
    try:
        read = _expect(store.ask(user, "GET", path), 200, f"{user.access_key_id} reads from {bucket}")
        if read != content:
            raise StoreWrong(f"{bucket} gives back something else than was written")
        listed = store.ask(user, "GET", f"/{bucket}", "list-type=2&prefix=.horde-verify%2F")
        if name.encode() not in _expect(listed, 200, f"{user.access_key_id} lists {bucket}"):
            raise StoreWrong(f"{bucket} does not list what was written")
        for stranger in strangers:
            who = stranger.access_key_id or "nobody in particular"
            for method in ("GET", "PUT", "DELETE"):
                answer = store.ask(stranger, method, path, body=b"")
                _expect(answer, 403, f"{who} is refused to {method} in {bucket}")
    finally:
        _expect(store.ask(user, "DELETE", path), 204, f"{user.access_key_id} deletes from {bucket}")


def main() -> int:
    """Make and try what standard input asks for."""
    asked = json.load(sys.stdin)
    store = Store(asked["endpoint"], asked["region"], asked["ca"])
    users = [(User(one["access_key_id"], one["secret_key"]), one["buckets"]) for one in asked["users"]]
    try:
        wait_until_it_answers(store)
        for user, buckets in users:
            for bucket in buckets:
                if have_bucket(store, user, bucket):
                    print(f"made {bucket}")
                others = [other for other, _ in users if other != user]
                try_bucket(store, user, bucket, [NOBODY, User(user.access_key_id, "wrong"), *others])
    except StoreWrong as wrong:
        print(f"{wrong}.", file=sys.stderr)
        return 1
    except (OSError, http.client.HTTPException) as error:
        print(f"{store.endpoint} ceased to answer: {error!r}. Run this again.", file=sys.stderr)
        return 1
    return 0


def _expect(answer: tuple[int, bytes], status: int, what: str) -> bytes:
    if answer[0] != status:
        said = answer[1].decode(errors="replace")[:300]
        raise StoreWrong(f"{what}: expected {status}, got {answer[0]} {said}")
    return answer[1]


def _place(region: str) -> bytes:
    if region == "us-east-1":
        return b""
    place = f"<LocationConstraint>{region}</LocationConstraint>"
    return f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>".encode()


if __name__ == "__main__":
    sys.exit(main())
