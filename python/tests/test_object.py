"""The hash of an object, from docs/history.md alone: the same numbers as in crates/format/src/object.rs."""

import unittest

MASK = (1 << 64) - 1


def sip24(key: bytes, data: bytes) -> int:
    """SipHash-2-4 (J.-P. Aumasson, D. J. Bernstein, 2012)."""
    k0, k1 = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    v0, v1, v2, v3 = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )

    def left(word: int, by: int) -> int:
        return (word << by | word >> (64 - by)) & MASK

    def rounds(count: int) -> None:
        nonlocal v0, v1, v2, v3
        for _ in range(count):
            v0, v2 = (v0 + v1) & MASK, (v2 + v3) & MASK
            v1, v3 = left(v1, 13) ^ v0, left(v3, 16) ^ v2
            v0 = left(v0, 32)
            v2, v0 = (v2 + v1) & MASK, (v0 + v3) & MASK
            v1, v3 = left(v1, 17) ^ v2, left(v3, 21) ^ v0
            v2 = left(v2, 32)

    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v3 ^= word
        rounds(2)
        v0 ^= word
    v2 ^= 0xFF
    rounds(4)
    return v0 ^ v1 ^ v2 ^ v3


def object_of(key: bytes, identity: int, handle: bytes) -> int:
    """The `object` of a file: `handle` is its type and its bytes."""

    def of_number(part: bytes, number: int) -> int:
        return sip24(part, number.to_bytes(8, "little"))

    def factor(at: int) -> int:
        return of_number(key[:16], 2 * at) | of_number(key[:16], 2 * at + 1) << 64

    padded = handle + b"\1"
    padded += bytes(-len(padded) % 8)
    total = factor(0)
    for at in range(len(padded) // 8):
        total += factor(at + 1) * int.from_bytes(padded[8 * at : 8 * at + 8], "little")
    high = total % (1 << 128) >> 64
    high = (high ^ high >> 32) * 0x9E3779B97F4A7C15 & MASK
    high ^= high >> 32
    return (high ^ of_number(key[16:], identity)) & ~1


class Objects(unittest.TestCase):
    def test_sip_is_sip(self) -> None:
        # The vector of the paper, appendix A.
        self.assertEqual(sip24(bytes(range(16)), bytes(range(15))), 0xA129CA6149BE45E5)

    def test_objects_are_those_of_fsmon(self) -> None:
        key = bytes(range(32))
        for length, identity, expected in TABLE:
            found = object_of(key, identity, bytes(range(length)))
            self.assertEqual(found, expected, f"{length} bytes on {identity:#x}: {found:#018x}")


TABLE = [
    (0, 0, 0x5F88B45CA66443EA),
    (4, 1, 0x5C70D8F9798A321A),
    (12, 0x0123456789ABCDEF, 0xE37DDCACD0002558),
    (16, 1, 0x006981F7008D2C2E),
    (24, 1, 0xBBFA34D5C3EAAB8C),
    (29, MASK, 0xCB3509C5D758E892),
    (132, 1, 0x64DC3DD0A654F070),
]

if __name__ == "__main__":
    unittest.main()
