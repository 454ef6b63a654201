//! How each monitor is started: with the same event types, to a file on another filesystem or to
//! standard output.

use super::{Format, Monitor, Plan, Programs, ending};
use crate::area::Area;
use crate::lines::Dialect;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The plan for a monitor whose program is there; `None` for none.
pub(crate) fn plan(monitor: Monitor, programs: &Programs, area: &Area) -> io::Result<Option<Plan>> {
    Ok(match monitor {
        Monitor::None => None,
        Monitor::Floor => Some(floor(area)?),
        Monitor::Fsmon(format, backend) => match &programs.fsmon {
            Some(program) => Some(fsmon(program, format, backend, area)?),
            None => None,
        },
        Monitor::Fatrace => programs.fatrace.as_deref().map(|p| fatrace(p, area)).transpose()?,
        Monitor::Inotifywait => {
            programs.inotifywait.as_deref().map(|p| inotifywait(p, area)).transpose()?
        }
        Monitor::FsmonOld => {
            programs.fsmon_old.as_deref().map(|p| fsmon_old(p, area)).transpose()?
        }
    })
}

fn new(command: Command, ready: Option<&'static str>, output: Option<(Dialect, PathBuf)>) -> Plan {
    Plan { command, ready, output, stats: None, decoder: None, stop: libc::SIGINT }
}

fn floor(area: &Area) -> io::Result<Plan> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("@floor").arg(&area.mount);
    Ok(new(command, Some("floor: ready"), None))
}

fn fsmon(program: &Path, format: Format, backend: &str, area: &Area) -> io::Result<Plan> {
    let (output, stats) = (area.fresh("fsmon.out")?, area.fresh("fsmon.stats")?);
    let mut command = Command::new(program);
    command.args(["--format", format.name(), "--backend", backend]);
    command.arg("--output").arg(&output).arg("--stats").arg(&stats).arg(&area.watched);
    let dialect = match format {
        Format::Json | Format::Binary => Dialect::Json,
        Format::Csv => Dialect::Csv,
        Format::Human => Dialect::Human,
    };
    let mut plan = new(command, Some("fsmon: ready"), Some((dialect, output)));
    plan.stats = Some(stats);
    plan.decoder = (format == Format::Binary).then(|| program.to_owned());
    Ok(plan)
}

/// fsmon with one of its sources of process names, its lines of JSON to standard output.
pub(crate) fn fsmon_lines(
    program: &Path,
    who: &str,
    backend: &str,
    area: &Area,
) -> io::Result<Plan> {
    let stats = area.fresh("fsmon.stats")?;
    let mut command = Command::new(program);
    command.args(["--format", "json", "--types", "CREATE,CLOSE_WRITE"]);
    command.args(["--who", who, "--backend", backend]);
    command.arg("--stats").arg(&stats).arg(&area.watched);
    let mut plan = new(command, Some("fsmon: ready"), None);
    plan.stats = Some(stats);
    Ok(plan)
}

fn fatrace(program: &Path, area: &Area) -> io::Result<Plan> {
    let output = area.fresh("fatrace.out")?;
    let mut command = Command::new(program);
    command.args(FATRACE).arg("--output").arg(&output).current_dir(&area.mount);
    Ok(new(command, None, Some((Dialect::Fatrace, output))))
}

fn inotifywait(program: &Path, area: &Area) -> io::Result<Plan> {
    let output = area.fresh("inotifywait.out")?;
    let mut command = Command::new(program);
    command.args(INOTIFYWAIT).arg("--outfile").arg(&output).arg(&area.watched);
    Ok(new(command, Some("Watches established."), Some((Dialect::Inotifywait, output))))
}

/// The plan for a monitor whose lines are to be read from standard output as they come; `None`
/// for one that cannot do that.
pub(crate) fn live(monitor: Monitor, programs: &Programs, area: &Area) -> Option<Plan> {
    let (program, ready) = match monitor {
        Monitor::Fsmon(Format::Json | Format::Human, _) => (&programs.fsmon, Some("fsmon: ready")),
        Monitor::Fatrace => (&programs.fatrace, None),
        Monitor::Inotifywait => (&programs.inotifywait, Some("Watches established.")),
        _ => return None,
    };
    let mut command = Command::new(program.as_ref()?);
    match monitor {
        Monitor::Fsmon(format, backend) => {
            command.args(["--format", format.name(), "--backend", backend]).arg(&area.watched);
        }
        Monitor::Fatrace => {
            command.args(FATRACE).current_dir(&area.mount);
        }
        _ => {
            command.args(INOTIFYWAIT).arg(&area.watched);
        }
    }
    Some(new(command, ready, None))
}

/// "This mount" is that of the current directory; W: close after writing, and modify.
const FATRACE: [&str; 2] = ["--current-mount", "--filter=W+D<>"];
const INOTIFYWAIT: [&str; 6] = [
    "--monitor",
    "--recursive",
    "--format",
    "%e|%w%f",
    "--event",
    "create,delete,move,close_write,attrib",
];

/// How long the old fsmon may take to note down what it is to watch.
const ADD: Duration = Duration::from_secs(10);

/// A daemon; what it watches is kept in a home of its own, as are its logs.
fn fsmon_old(program: &Path, area: &Area) -> io::Result<Plan> {
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
    let mut plan = new(command, None, Some((Dialect::OldJson, logs)));
    // It misses SIGINT at times, and never ends.
    plan.stop = libc::SIGTERM;
    Ok(plan)
}
