//! Values that are right one by one, but wrong together.

use super::document::Table;
use super::sections::Listen;
use super::values::time_text;
use super::{Config, Watch, keys};
use crate::limits::WATCHES_MAX;
use fsmon_format::error::Error;
use fsmon_present::message::shown;
use fsmon_present::size::text as size_text;
use std::path::Path;

/// Checks what relates two values.
///
/// # Errors
/// The first contradiction.
pub(super) fn check(top: &Table<'_>, config: &Config) -> Result<(), Error> {
    keep(top, config)?;
    sessions(top, config)?;
    files(top, config)?;
    own_directory(top, config)
}

fn keep(top: &Table<'_>, config: &Config) -> Result<(), Error> {
    let (rotate, keep) = (&config.history.rotate, &config.history.keep);
    if let (Some(kept), Some(one)) = (keep.size, rotate.size)
        && kept < one.saturating_mul(2)
    {
        // A file is deleted as a whole, and never the one that is written.
        let (kept, one) = (size_text(kept), size_text(one));
        return Err(top.wrong_at(
            "history.keep.size",
            format_args!(
                "is {kept}, less than two files of history.rotate.size ({one}); raise it, or \
                 lower history.rotate.size"
            ),
        ));
    }
    if let (Some(at_least), Some(age)) = (keep.at_least, keep.age)
        && at_least > age
    {
        let (at_least, age) = (time_text(at_least), time_text(age));
        return Err(top.wrong_at(
            "history.keep.at_least",
            format_args!(
                "is {at_least}, more than history.keep.age ({age}); lower it, or raise that"
            ),
        ));
    }
    Ok(())
}

fn sessions(top: &Table<'_>, config: &Config) -> Result<(), Error> {
    let (most, of_user) = (config.sessions.max, config.sessions.max_per_user);
    if of_user > most {
        let what = format_args!("is {of_user}, more than sessions.max ({most}); lower it");
        return Err(top.wrong_at("sessions.max_per_user", what));
    }
    Ok(())
}

/// Two things are never one file.
fn files(top: &Table<'_>, config: &Config) -> Result<(), Error> {
    let listen = match &config.metrics.listen {
        Some(Listen::Unix(path)) => Some(path),
        _ => None,
    };
    let files: Vec<(&str, &Path)> = [
        ("control.socket", Some(&config.control.socket)),
        ("sessions.socket", Some(&config.sessions.socket)),
        ("state.file", Some(&config.state.file)),
        ("metrics.textfile", config.metrics.textfile.as_ref()),
        ("metrics.listen", listen),
        ("history.dir", Some(&config.history.dir)),
    ]
    .into_iter()
    .filter_map(|(key, path)| Some((key, path?.as_path())))
    .collect();
    for (at, (key, path)) in files.iter().enumerate() {
        if let Some((other, _)) = files[..at].iter().find(|(_, other)| other == path) {
            let path = shown(path);
            let what = format_args!("is {path}, as {other} is; write another path");
            return Err(top.wrong_at(key, what));
        }
    }
    Ok(())
}

/// What happens in the directory of the history is never recorded: each record would make another one.
fn own_directory(top: &Table<'_>, config: &Config) -> Result<(), Error> {
    let Some(list) = top.value("watch") else { return Ok(()) };
    for (value, watch) in list.list("[[watch]]", WATCHES_MAX)?.zip(&config.watches) {
        if let Some(why) = in_history(config, watch) {
            return Err(value.table(&keys::WATCH)?.wrong("path", why));
        }
    }
    Ok(())
}

/// Why nothing of a watch would be recorded: it is in the history.
pub(super) fn in_history(config: &Config, watch: &Watch) -> Option<String> {
    let own = &config.history.dir;
    watch.path.starts_with(own).then(|| {
        let (path, own) = (shown(&watch.path), shown(own));
        format!(
            "is {path}, and what happens in the history ({own}) is never recorded; leave it out"
        )
    })
}
