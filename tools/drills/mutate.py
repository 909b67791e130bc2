"""Mutations of files, as functions of a random generator: what a bad disk, program or person makes of them."""

import json
import random
import struct

NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 65536, 10**6, 2**31 - 1, 2**31, 2**32 - 1)
ODD: tuple = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        0.5,
        -1e308,
        1e308,
        10**12,
        10**30,
        "",
        "a",
        "x" * 5000,
        "\0",
        "\ud800",
        "\u202e\x1b[2J",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        {"a": {}},
        [1] * 1000,
        "../../x",
        "/etc/passwd",
        "NaN",
        "\\NaN",
        float("nan"),
        float("inf"),
    ),
)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    "One to four changes, more of them near the start, where headers are."
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if not data:
            break
        at = int(len(data) * rng.random() ** rng.choice((1, 3)))
        kind = rng.randrange(8)
        if kind < 2:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at] = rng.choice((0, 255, 127, 128, rng.randrange(256)))
        elif kind == 3:
            packed = struct.pack(rng.choice(("<I", ">I")), rng.choice(NUMBERS))
            data[at : at + 4] = packed
        elif kind == 4:
            data[at : at + 2] = struct.pack(rng.choice(("<H", ">H")), rng.choice(NUMBERS) & 0xFFFF)
        elif kind == 5:
            del data[at : at + rng.choice((1, 2, 4, 16, 256))]
        elif kind == 6:
            data[at:at] = data[at : at + rng.choice((1, 4, 64))] or bytes(rng.choice((1, 4, 64)))
        else:
            del data[at:]
    return bytes(data)


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    "A value of another kind somewhere, a key that is missing, a nesting without end; or changed bytes."
    if rng.random() < 0.3:
        return mutate_bytes(data, rng)
    if rng.random() < 0.02:
        return rng.choice(
            (b"[" * 10**5, b'{"a":' * 10**5, b"1" * 10**5, b"", b"\xff\xfe", b"null", b"[]", b"3", b'""', b"{}")
        )
    lines = data.split(b"\n") if data.count(b"\n{") else [data]
    number = rng.randrange(len(lines))
    try:
        values = json.loads(lines[number])
    except ValueError:  # the empty text after the last line
        return mutate_bytes(data, rng)
    lines[number] = json.dumps(_change(values, rng)).encode()
    return b"\n".join(lines)


def _change(value: object, rng: random.Random) -> object:
    "A plain value with one part changed."
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {name: item for name, item in value.items() if name != key}
        if rng.random() < 0.05:
            return value | {rng.choice(("", "file", "__class__", "event")): rng.choice(ODD)}
        return value | {key: _change(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], _change(value[at], rng), *value[at + 1 :]]
    return rng.choice(ODD)
