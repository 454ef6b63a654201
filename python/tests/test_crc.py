"""The checksum, whoever makes it."""

import random
import unittest

import helping  # noqa: F401
import maker
from fsmon import crc


class Crc32c(unittest.TestCase):
    def test_the_known_value(self):
        for made in (crc.crc32c, crc.PythonCrc32c()):
            self.assertEqual(made(b"123456789"), 0xE3069283)
            self.assertEqual(made(b""), 0)

    def test_every_length(self):
        rng = random.Random(7)
        python = crc.PythonCrc32c()
        for length in range(70):
            data = bytes(rng.getrandbits(8) for _ in range(length))
            self.assertEqual(python(data), maker.crc32c(data))
            self.assertEqual(crc.crc32c(data), maker.crc32c(data))


if __name__ == "__main__":
    unittest.main()
