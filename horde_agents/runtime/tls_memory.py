"""How much memory asyncio keeps for each TLS connection."""

from asyncio import sslproto
from typing import Final

#: The most plain text that one TLS record has (RFC 8446, 5.1): no single read can bring more.
_RECORD_BYTES: Final = 16 * 1024


def keep_one_record_per_connection() -> None:
    """Have TLS connections made from now on in this process buffer one record, not the 256 KiB of asyncio's.

    That is what hundreds of connections that mostly wait weigh; asyncio offers no other way to say so.
    """
    sslproto.SSLProtocol.max_size = _RECORD_BYTES
