"""Makes, writes, closes, renames and removes FILES files, in turn, in DIRS directories, which are renamed
half-way."""

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
    at = f"{name}{number % DIRS:02}/"
    fd = os.open(f"{at}file-{number}.tmp", os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(fd, b"x")
    os.close(fd)
    os.rename(f"{at}file-{number}.tmp", f"{at}file-{number}")
    os.unlink(f"{at}file-{number}")
