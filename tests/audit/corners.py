#!/usr/bin/env python3
"""What builds seldom do: a command for compare.py.

    compare.py --flagged-may-differ -- tests/audit/corners.py

Processes whose parent is gone, that change their user between exec and file, that exec twice, run
setuid or rename themselves; threads with names; names relative to descriptors, through dangling
links, without UTF-8; hard links, sockets, unnamed files, exchanged names, moved directories.
"""

import ctypes
import os
import shutil
import socket
import sys
import threading
import time

ROUNDS = 50
USER = 60104
PR_SET_NAME, RENAME_EXCHANGE, HERE = 15, 2, -100

libc = ctypes.CDLL(None)


def touch(name):
    open(name, "w").close()


def child(work):
    """Runs `work` in a new process and waits for its end."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
    if os.waitpid(pid, 0)[1] != 0:
        sys.exit("a process failed")


def orphan(number):
    """The parent is gone when the process makes its files, one of them after an exec."""
    reader, writer = os.pipe()

    def parent():
        if os.fork() == 0:
            os.close(writer)
            os.read(reader, 1)  # ends with the parent
            touch(f"orphan-{number}")
            os.execvp("mv", ["mv", f"orphan-{number}", f"orphaned-{number}"])

    child(parent)
    os.close(writer)
    os.close(reader)


def other_user(number):
    def work():
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        os.execvp("touch", ["touch", f"user-{number}"])

    child(work)


def twice(number):
    child(lambda: os.execvp("sh", ["sh", "-c", f": > twice-{number}; exec rm twice-{number}"]))


def setuid(number):
    child(lambda: os.execv("setuid-touch", ["setuid-touch", f"setuid-{number}"]))


def renames_itself(number):
    def work():
        libc.prctl(PR_SET_NAME, b"call me %d" % number, 0, 0, 0)
        touch(f"name-{number}")

    child(work)


def thread(number):
    def work():
        libc.prctl(PR_SET_NAME, b"thread", 0, 0, 0)
        touch(f"thread-{number}")

    one = threading.Thread(target=work)
    one.start()
    one.join()


def names():
    os.mkdir("dir")
    os.mkdir("other")
    folder = os.open("dir", os.O_RDONLY | os.O_DIRECTORY)
    touch("f")
    os.rename("f", "f", dst_dir_fd=folder)
    os.rename("f", "g", src_dir_fd=folder)
    os.link("g", "hard", dst_dir_fd=folder)
    os.symlink("dir/behind", "dangling")
    os.close(os.open("dangling", os.O_CREAT | os.O_WRONLY))
    os.close(os.open("read-only", os.O_CREAT | os.O_RDONLY, dir_fd=folder))
    unnamed = os.open("dir", os.O_TMPFILE | os.O_RDWR)
    os.link(f"/proc/self/fd/{unnamed}", "named", dst_dir_fd=folder, follow_symlinks=True)
    socket.socket(socket.AF_UNIX).bind("socket")
    os.mkfifo("fifo")
    for odd in (b"two words", b'a "quote"', b"new\nline", b"\xff\xfe", b"x" * 255):
        os.close(os.open(odd, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    libc.renameat2(HERE, b"g", HERE, b"socket", RENAME_EXCHANGE)
    os.mkdir("dir/deep")
    os.rename("dir/deep", "other/deeper")
    touch("other/deeper/file")
    touch("replaced")
    os.rename("other/deeper/file", "replaced")
    shutil.rmtree("dir")
    shutil.rmtree("other")


def main():
    os.chmod(".", 0o1777)
    shutil.copy(shutil.which("touch"), "setuid-touch")
    os.chown("setuid-touch", USER, USER)
    os.chmod("setuid-touch", 0o4755)
    names()
    for number in range(ROUNDS):
        for make in (orphan, other_user, twice, setuid, renames_itself, thread):
            make(number)
    while any(name.startswith("orphan-") for name in os.listdir(".")):
        time.sleep(0.01)


if __name__ == "__main__":
    main()
