//! The command of each monitor: with the same event types, writing to a file on another filesystem or to standard
//! output.

use super::{Format, Monitor, Plan, Programs, Ready, peers};
use crate::area::Area;
use crate::lines::Dialect;
use crate::workload::Asks;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// The default types, and with MODIFY.
const DEFAULT: &str = "create,delete,rename,close_write,attrib";
const MODIFY_TOO: &str = "create,delete,rename,close_write,attrib,modify";

/// The plan for a monitor whose program exists; `None` for [`Monitor::None`].
pub(crate) fn plan(
    monitor: Monitor,
    programs: &Programs,
    area: &Area,
    asks: Asks,
) -> io::Result<Option<Plan>> {
    let Some(program) = programs.of(monitor) else { return Ok(None) };
    match monitor {
        Monitor::None => return Ok(None),
        Monitor::Floor => floor(area, asks),
        Monitor::FloorModify => floor(area, Asks { modify: true, ..asks }),
        Monitor::Fsmon(format, backend) => {
            fsmon(program, format, &["--backend", backend], area, asks)
        }
        Monitor::With(format, words) => {
            let words: Vec<&str> = words.split_whitespace().collect();
            fsmon(program, format, &words, area, asks)
        }
        Monitor::Daemon(codec) => daemon(program, codec, area, asks),
        Monitor::Fatrace => peers::fatrace(program, area),
        Monitor::Inotifywait => peers::inotifywait(program, &[], "inotifywait", area, asks),
        Monitor::Fsnotifywait => {
            peers::inotifywait(program, &["--fanotify"], "fsnotifywait", area, asks)
        }
        Monitor::Auditd => peers::auditd(program, area),
        Monitor::Bpftrace => peers::bpftrace(program, area),
        Monitor::FsmonOld => peers::fsmon_old(program, area),
    }
    .map(Some)
}

fn floor(area: &Area, asks: Asks) -> io::Result<Plan> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("@floor").arg(&area.mount);
    if asks.modify {
        command.arg("modify");
    }
    Ok(Plan::new(command, Ready::Line("floor: ready"), None))
}

fn fsmon(
    program: &Path,
    format: Format,
    words: &[&str],
    area: &Area,
    asks: Asks,
) -> io::Result<Plan> {
    let (output, stats) = (area.fresh("fsmon.out")?, area.fresh("fsmon.stats")?);
    let mut command = Command::new(program);
    command.args(["--format", format.name()]).args(words);
    if asks.modify {
        command.args(["--types", MODIFY_TOO]);
    }
    if let Some(name) = asks.exclude {
        command.args(["--exclude", name]);
    }
    command.arg("--output").arg(&output).arg("--stats").arg(&stats).arg(&area.watched);
    let dialect = match format {
        Format::Json | Format::Binary => Dialect::Json,
        Format::Csv => Dialect::Csv,
        Format::Human => Dialect::Human,
    };
    let mut plan = Plan::new(command, Ready::Line("fsmon: ready"), Some((dialect, output)));
    plan.stats = Some(stats);
    plan.decoder = (format == Format::Binary).then(|| program.to_owned());
    Ok(plan)
}

fn daemon(program: &Path, codec: &str, area: &Area, asks: Asks) -> io::Result<Plan> {
    let history = area.out.join("history");
    match fs::remove_dir_all(&history) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let config = area.fresh("fsmon.toml")?;
    let exclude = asks.exclude.map(|name| format!("exclude = ['{name}']\n")).unwrap_or_default();
    let (out, watched, dir) = (area.out.display(), area.watched.display(), history.display());
    let text = format!(
        "history = {{ dir = '{dir}', compress = '{codec}', keep = {{ free = 'none' }} }}\n\
         control = {{ socket = '{out}/control.sock', group = '' }}\n\
         state.file = '{out}/watches.toml'\n[[watch]]\npath = '{watched}'\n{exclude}"
    );
    fs::write(&config, text)?;
    let mut command = Command::new(program);
    command.args(["daemon", "--config"]).arg(&config);
    let output = Some((Dialect::Json, history));
    let mut plan = Plan::new(command, Ready::Line("fsmon: ready"), output);
    plan.decoder = Some(program.to_owned());
    let types = if asks.modify { MODIFY_TOO } else { DEFAULT };
    plan.decoder_args = vec!["--types", types];
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
    let mut plan = Plan::new(command, Ready::Line("fsmon: ready"), None);
    plan.stats = Some(stats);
    Ok(plan)
}

/// The plan for a monitor whose lines are to be read from standard output as they come; `None`
/// for one that cannot do that.
pub(crate) fn live(monitor: Monitor, programs: &Programs, area: &Area) -> Option<Plan> {
    let mut command = Command::new(programs.of(monitor)?);
    let ready = match monitor {
        Monitor::Fsmon(format @ (Format::Json | Format::Human), backend) => {
            command.args(["--format", format.name(), "--backend", backend]).arg(&area.watched);
            Ready::Line("fsmon: ready")
        }
        Monitor::With(format @ (Format::Json | Format::Human), words) => {
            command.args(["--format", format.name()]).args(words.split_whitespace());
            command.arg(&area.watched);
            Ready::Line("fsmon: ready")
        }
        Monitor::Fatrace => {
            command.args(peers::FATRACE).current_dir(&area.mount);
            Ready::Marks
        }
        Monitor::Inotifywait => {
            command.args(peers::INOTIFYWAIT).arg(&area.watched);
            Ready::Line(peers::ESTABLISHED)
        }
        _ => return None,
    };
    Some(Plan::new(command, ready, None))
}
