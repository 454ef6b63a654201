//! The commands of the peers.

use super::{Plan, Ready, ending};
use crate::area::Area;
use crate::lines::Dialect;
use crate::workload::Asks;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// "This mount" is that of the current directory; W: close after writing, and modify.
pub(crate) const FATRACE: [&str; 2] = ["--current-mount", "--filter=W+D<>"];
/// Of inotifywait(1) and fsnotifywait(1).
pub(crate) const INOTIFYWAIT: [&str; 6] = [
    "--monitor",
    "--recursive",
    "--format",
    "%e|%w%f",
    "--event",
    "create,delete,move,close_write,attrib",
];
/// The line of both when they are ready.
pub(crate) const ESTABLISHED: &str = "Watches established.";

pub(super) fn fatrace(program: &Path, area: &Area) -> io::Result<Plan> {
    let output = area.fresh("fatrace.out")?;
    let mut command = Command::new(program);
    command.args(FATRACE).arg("--output").arg(&output).current_dir(&area.mount);
    Ok(Plan::new(command, Ready::Marks, Some((Dialect::Fatrace, output))))
}

/// inotifywait, or fsnotifywait with its own words.
pub(super) fn inotifywait(
    program: &Path,
    words: &[&str],
    name: &str,
    area: &Area,
    asks: Asks,
) -> io::Result<Plan> {
    let output = area.fresh(&format!("{name}.out"))?;
    let mut command = Command::new(program);
    command.args(words).args(INOTIFYWAIT);
    if asks.modify {
        command.args(["--event", "modify"]);
    }
    if let Some(left_out) = asks.exclude {
        command.args(["--exclude", &format!("/{left_out}/")]);
    }
    command.arg("--outfile").arg(&output).arg(&area.watched);
    Ok(Plan::new(command, Ready::Line(ESTABLISHED), Some((Dialect::Inotifywait, output))))
}

/// The system calls that change what there is. Their own tracepoints are not in every kernel; the one
/// of all calls is.
const BPFTRACE: &str = include_str!("calls.bt");

/// Every call on the host, wherever: bpftrace has no notion of a directory.
pub(super) fn bpftrace(program: &Path, area: &Area) -> io::Result<Plan> {
    let (script, output) = (area.fresh("calls.bt")?, area.fresh("bpftrace.out")?);
    fs::write(&script, BPFTRACE)?;
    let mut command = Command::new(program);
    // As long as a name may be with several of them on BPF's stack; more room before events are lost.
    command.env("BPFTRACE_STRLEN", "120").env("BPFTRACE_PERF_RB_PAGES", "1024");
    command.arg("-o").arg(&output).arg(script);
    let probes = BPFTRACE.matches("tracepoint:").count();
    Ok(Plan::new(command, Ready::Programs(probes), Some((Dialect::Bpftrace, output))))
}

/// Sets a watch up and becomes auditd: DIR for its files, and what to watch.
const AUDITD: &str = include_str!("auditd.sh");

/// A watch on the tree. Refuses where somebody audits already.
pub(super) fn auditd(program: &Path, area: &Area) -> io::Result<Plan> {
    let dir = area.out.join("auditd");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir(&dir)?;
    let mut command = Command::new("sh");
    command.args(["-euc", AUDITD, "auditd"]).args([program, &dir, &area.watched]);
    let log = dir.join("audit.log");
    let ready = Ready::InFile(log.clone(), "type=DAEMON_START");
    let mut plan = Plan::new(command, ready, Some((Dialect::Audit, log)));
    let mut after = Command::new("sh");
    after.args(["-c", "auditctl -D; auditctl -e 0; auditctl -b 64"]);
    after.stdout(Stdio::null()).stderr(Stdio::null());
    plan.after = Some(after);
    plan.stop = libc::SIGTERM;
    Ok(plan)
}

/// How long the old fsmon may take to write down what it has to watch.
const ADD: Duration = Duration::from_secs(10);

/// A daemon, with a separate home for its configuration and logs.
pub(super) fn fsmon_old(program: &Path, area: &Area) -> io::Result<Plan> {
    let home = area.out.join("old-home");
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    let (config, logs) = (home.join(".config/fsmon"), home.join("logs"));
    fs::create_dir_all(&config)?;
    fs::create_dir_all(&logs)?;
    let (managed, socket) = (home.join("managed.jsonl"), home.join("socket"));
    let text = format!(
        "[managed]\npath = {managed:?}\n[logging]\npath = {logs:?}\n[socket]\npath = {socket:?}\n"
    );
    fs::write(config.join("fsmon.toml"), text)?;
    let new_command = || {
        let mut command = Command::new(program);
        command.env("HOME", &home).env_remove("SUDO_UID").env_remove("XDG_CONFIG_HOME");
        command
    };
    let mut add = new_command();
    add.arg("add").arg(&area.watched).arg("-r").stdout(Stdio::null()).stderr(Stdio::null());
    let mut added = crate::sys::for_this_run(&mut add).spawn()?;
    let ended = ending::wait(&mut added, ADD)?;
    if !ended.is_some_and(|status| status.success()) {
        ending::abandon(&mut added);
        return Err(io::Error::other(format!("`fsmon add` failed or took too long: {ended:?}")));
    }
    let mut command = new_command();
    command.arg("daemon");
    let mut plan = Plan::new(command, Ready::Marks, Some((Dialect::OldJson, logs)));
    // It misses SIGINT at times, and never ends.
    plan.stop = libc::SIGTERM;
    Ok(plan)
}
