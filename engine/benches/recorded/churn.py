"""Makes, writes, closes, renames and removes FILES files, in turn, in DIRS directories, which are renamed
half-way. Every eighth has a name too long for one slot of a record."""

import os
import sys

DIRS, FILES = 32, 320

os.chdir(sys.argv[1])
for number in range(DIRS):
    os.mkdir(f"dir{number:02}")
for number in range(FILES):
    if number == FILES // 2:
        for other in range(DIRS):
            os.rename(f"dir{other:02}", f"moved{other:02}")
    name = "dir" if number < FILES // 2 else "moved"
    word = "file" if number % 8 else "a-file-with-as-long-a-name-as-some-that-people-choose"
    at = f"{name}{number % DIRS:02}/{word}-{number}"
    fd = os.open(f"{at}.tmp", os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(fd, b"x")
    os.close(fd)
    os.rename(f"{at}.tmp", at)
    os.unlink(at)
