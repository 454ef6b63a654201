"""Records one command with the Linux audit subsystem and with fsmon at the same time."""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from auditlog import FILES, FORKS, NAMES

PATIENCE = 120
"""Seconds that anything but the command itself may take."""

BACKLOG = 65536
"""Records that the kernel may hold back for auditd, about 40 MB. When it is full processes wait."""

NOW = "creat,open,rename,unlink,mkdir,rmdir,link,symlink,mknod"
AT = "mkdirat,unlinkat,linkat,symlinkat,mknodat,renameat,renameat2,bind"

AUDITD = """\
local_events = yes
write_logs = yes
log_file = {log}
log_format = RAW
flush = NONE
num_logs = 0
max_log_file = 0
max_log_file_action = IGNORE
space_left = 75
space_left_action = IGNORE
admin_space_left = 50
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
name_format = NONE
priority_boost = 4
q_depth = 2000
plugin_dir = {plugins}
"""


class Skip(Exception):
    """The comparison cannot be made here."""


class Broken(Exception):
    """Something failed that should have worked."""


def auditctl(*args, check=True):
    done = subprocess.run(["auditctl", *args], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise Broken(f"auditctl {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def status():
    """`auditctl -s` as numbers."""
    return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)", auditctl("-s"), re.M)}


def refuse_unless_possible():
    if os.geteuid() != 0:
        raise Skip("auditing takes root")
    for tool in ("auditctl", "auditd"):
        if shutil.which(tool) is None:
            raise Skip(f"{tool} is not installed (Debian: apt install auditd)")
    try:
        now = status()
    except Broken as error:
        raise Skip(f"this kernel or namespace does not audit: {error}") from error
    if "enabled" not in now:
        raise Skip("this kernel or namespace does not audit")
    if now["enabled"] == 2:
        raise Skip("audit's rules are locked (auditctl -e 2) until the next boot")
    if now["pid"]:
        raise Skip(f"an audit daemon is at work already, process {now['pid']}")


@contextmanager
def audit(tree, scratch, login):
    """Audits changes below `tree`, and new processes of the login uid `login`, into
    `scratch/audit.log`. Gives a dict that has the number of records `lost` when this ends.
    Everything is put back."""
    log = scratch / "auditd" / "audit.log"
    plugins = scratch / "auditd" / "plugins"
    plugins.mkdir(parents=True, mode=0o700)
    (scratch / "auditd" / "auditd.conf").write_text(AUDITD.format(log=log, plugins=plugins))
    before = status()
    # `never,task`, which some distributions ship, leaves new processes out of all other rules.
    never_task = "-a never,task" in auditctl("-l").splitlines()
    daemon = subprocess.Popen(["auditd", "-n", "-s", "nochange", "-c", scratch / "auditd"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: status()["pid"] == daemon.pid or daemon.poll() is not None, "auditd to start")
        if daemon.poll() is not None:
            raise Skip(f"auditd does not run: {daemon.stderr.read().decode().strip()}")
        if never_task:
            auditctl("-d", "never,task")
        auditctl("-r", "0")
        auditctl("-b", str(max(BACKLOG, before["backlog_limit"])))
        rules(tree, login)
        auditctl("-e", "1")
        outcome = {}
        yield outcome
        unrule()
        # Whatever was recorded before this message is in the log once the message is.
        auditctl("-m", f"fsmon-end-{os.getpid()}")
        wait_for(lambda: f"fsmon-end-{os.getpid()} ".encode() in tail(log), "auditd to write its log")
        outcome["lost"] = status()["lost"] - before["lost"]
    finally:
        unrule()
        auditctl("-e", str(before["enabled"]), check=False)
        daemon.terminate()
        daemon.wait(PATIENCE)
        auditctl("-b", str(before["backlog_limit"]), check=False)
        auditctl("-r", str(before["rate_limit"]), check=False)
        if never_task:
            auditctl("-a", "never,task", check=False)
    shutil.copy(log, scratch / "audit.log")


def rules(tree, login):
    here = ["-F", f"dir={tree}", "-F", "success=1", "-k", FILES]
    for arch in ("b64", "b32"):
        optional = arch == "b32"
        always = ["-a", "always,exit", "-F", f"arch={arch}"]
        auditctl(*always, "-S", AT, *here, check=not optional)
        # Of opens those that may create, by the flag O_CREAT; openat2's are in memory.
        auditctl(*always, "-S", "openat", "-F", "a2&64", *here, check=not optional)
        auditctl(*always, "-S", "openat2", *here, check=not optional)
        auditctl(*always, "-S", "open", "-F", "a1&64", *here, check=False)
        for call in NOW.split(","):
            if call != "open":
                auditctl(*always, "-S", call, *here, check=False)
        ours = ["-F", f"auid={login}", "-F", "success=1"]
        for call in ("clone", "clone3", "fork", "vfork"):
            auditctl(*always, "-S", call, *ours, "-k", FORKS, check=False)
        auditctl(*always, "-S", "prctl", "-F", "a0=15", *ours, "-k", NAMES, check=not optional)


def unrule():
    for key in (FILES, FORKS, NAMES):
        auditctl("-D", "-k", key, check=False)


@contextmanager
def fsmon(binary, args, tree, scratch):
    """Records `tree` with fsmon into `scratch/fsmon.json`. Gives a list that has the lines it said
    on standard error when this ends."""
    said = []
    with open(scratch / "fsmon.err", "wb") as err:
        child = subprocess.Popen([binary, "-f", "json", "-o", scratch / "fsmon.json", *args, tree],
                                 stderr=err, stdin=subprocess.DEVNULL)

    def hear():
        return (scratch / "fsmon.err").read_text(errors="replace")

    try:
        wait_for(lambda: "ready" in hear() or child.poll() is not None, "fsmon to be ready")
        if child.poll() is not None:
            raise Broken(f"fsmon does not run: {hear().strip()}")
        yield said
        child.send_signal(signal.SIGINT)
        if child.wait(PATIENCE) != 0:
            raise Broken(f"fsmon failed: {hear().strip()}")
        said.extend(hear().splitlines())
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def run(command, tree, scratch, login):
    """Runs the command in the tree under a login uid of its own, which its descendants keep."""
    def log_in():
        with open("/proc/self/loginuid", "w", encoding="ascii") as loginuid:
            loginuid.write(str(login))

    with open(scratch / "command.log", "wb") as output:
        began = time.monotonic()
        try:
            code = subprocess.run(command, cwd=tree, preexec_fn=log_in, stdin=subprocess.DEVNULL,
                                  stdout=output, stderr=subprocess.STDOUT).returncode
        except subprocess.SubprocessError as error:
            raise Skip("cannot set a login uid (/proc/self/loginuid)") from error
    return code, time.monotonic() - began


def wait_for(true, what):
    limit = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > limit:
            raise Broken(f"waited {PATIENCE} s for {what}")
        time.sleep(0.02)


def tail(path: Path):
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
        return file.read()
