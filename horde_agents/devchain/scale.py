"""The few SCALE forms that are written by hand; everything else goes through the SDK's codec."""


def compact(number: int) -> bytes:
    """The compact form of a non-negative integer."""
    if number < 1 << 6:
        return bytes([number << 2])
    if number < 1 << 14:
        return (number << 2 | 1).to_bytes(2, "little")
    if number < 1 << 30:
        return (number << 2 | 2).to_bytes(4, "little")
    raw = number.to_bytes((number.bit_length() + 7) // 8, "little")
    return bytes([(len(raw) - 4) << 2 | 3]) + raw


def read_compact(data: bytes, at: int = 0) -> tuple[int, int]:
    """The integer at ``at``, and where the rest begins."""
    mode = data[at] & 3
    if mode < 3:
        size = 1 << mode
        return int.from_bytes(data[at : at + size], "little") >> 2, at + size
    size = (data[at] >> 2) + 4
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def text(value: str) -> bytes:
    """A string with its length before it."""
    raw = value.encode()
    return compact(len(raw)) + raw


def u16s(values: list[int]) -> bytes:
    """A vector of 16-bit integers."""
    return compact(len(values)) + b"".join(value.to_bytes(2, "little") for value in values)


def read_u16s(data: bytes, at: int) -> tuple[list[int], int]:
    """The vector at ``at``, and where the rest begins."""
    count, at = read_compact(data, at)
    return [int.from_bytes(data[at + 2 * i : at + 2 * i + 2], "little") for i in range(count)], at + 2 * count
