//! What of a configuration depends on this host, and what a watch must be that comes from elsewhere.

use super::sections::DEFAULT_GROUP;
use super::{Config, State, Watch};
use super::{keys, relations};
use crate::ask::must_answer;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use fsmon_present::filter::{Filter, Roots, Source};
use fsmon_present::message::shown;
use nix::unistd::Group;
use std::io;
use std::path::Path;

impl Config {
    /// Checks what depends on this host: groups, users, directories. Returns lines about what does not keep the daemon
    /// from running, but may not be meant.
    ///
    /// # Errors
    /// A group or user does not exist; a path is of the wrong kind, or could be tampered with: one line, which begins with
    /// the key. Asking for users and groups can fail, too.
    pub fn check_host(&self) -> Result<Vec<String>, Error> {
        let mut notes = Vec::new();
        notes.extend(self.check_group()?);
        check_history(&self.history.dir)?;
        for (key, file) in [
            ("metrics.textfile", self.metrics.textfile.as_ref()),
            ("state.file", Some(&self.state.file)),
        ] {
            let dir = file.and_then(|file| file.parent());
            let is_missing = |dir: &&Path| {
                dir.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            };
            if let Some(dir) = dir.filter(is_missing) {
                notes.push(format!("`{key}`: {} does not exist yet", shown(dir)));
            }
        }
        for (key, is_set) in [
            ("sessions.enabled", self.sessions.enabled),
            ("engine.per_filesystem", self.engine.per_filesystem),
        ] {
            if is_set {
                notes.push(format!("`{key}`: this version does nothing with it"));
            }
        }
        for watch in &self.watches {
            if let Err(error) = must_answer(&watch.path) {
                notes.push(error.to_string());
                continue;
            }
            watch.check_host()?;
        }
        Ok(notes)
    }

    /// Checks a watch that is to be added to this configuration, by other means than its file. `name` is what errors begin
    /// with.
    ///
    /// # Errors
    /// A value is wrong, the path is not UTF-8, or is in the history: one line. The kind is `Invalid`.
    pub fn check_watch(&self, watch: &Watch, name: &str) -> Result<(), Error> {
        watch.check(name)?;
        match relations::in_history(self, watch) {
            Some(why) => Err(Error::invalid(format!("{name}: `watch.path` {why}"))),
            None => Ok(()),
        }
    }

    /// All that is to be watched: what the configuration has, and what was added. Where both have a path the
    /// configuration counts. What was added and is in the history by now is left out.
    #[must_use]
    pub fn with_state(&self, state: &State) -> Vec<Watch> {
        let is_new = |watch: &&Watch| {
            self.watches.iter().all(|known| known.path != watch.path)
                && relations::in_history(self, watch).is_none()
        };
        self.watches.iter().chain(state.watches.iter().filter(is_new)).cloned().collect()
    }

    /// The group that may ask must exist; the one that packages make may be missing.
    fn check_group(&self) -> Result<Option<String>, Error> {
        let Some(name) = &self.control.group else { return Ok(None) };
        let shown = name.escape_debug();
        match Group::from_name(name) {
            Ok(Some(_)) => Ok(None),
            Ok(None) if name == DEFAULT_GROUP => Ok(Some(format!(
                "`control.group`: there is no group {shown} yet, so that only root may ask; groupadd \
                 --system {shown}"
            ))),
            Ok(None) => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "`control.group`: there is no group {shown}; see getent group, or write \"\" for none"
                ),
            )),
            Err(error) => {
                let what = format!("`control.group`: cannot look up group {shown}");
                Err(Error::os(what, error.into()))
            }
        }
    }
}

impl Watch {
    /// Checks what depends on this host: that users exist, that patterns can match, that the path is a directory if there
    /// is anything.
    ///
    /// # Errors
    /// One of these is not so: one line.
    pub fn check_host(&self) -> Result<(), Error> {
        let name = shown(&self.path);
        let about = |error: Error| error.after(format!("watch of {name}: "));
        if self.path.metadata().is_ok_and(|data| !data.is_dir()) {
            return Err(about(Error::invalid(
                "is no directory; watch the one that it is in, and name it in `include`",
            )));
        }
        let nothing = Capacity { dirs: 0, processes: 0, strings: 0, text: 0 };
        Filter::new(&self.criteria(), kind::DEFAULT, Source::Live, nothing)
            .and_then(|mut filter| filter.set_roots(&Roots::of_paths([&self.path])))
            .map_err(|error| about(Error::new(error.kind(), error.line(keys::of))))
    }
}

/// Who can write to the directory can delete the history.
fn check_history(dir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let name = shown(dir);
    let data = match dir.metadata() {
        Ok(data) => data,
        // The daemon makes it. Where it is in a directory of another user, only the process that records may look.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(());
        }
        Err(error) => {
            return Err(Error::os(format!("`history.dir`: cannot look at {name}"), error));
        }
    };
    if !data.is_dir() {
        return Err(Error::invalid(format!("`history.dir`: {name} is no directory")));
    }
    if data.mode() & 0o002 != 0 {
        let what = format!("`history.dir`: {name} is writable for all; write one that is not");
        return Err(Error::new(ErrorKind::Permission, what));
    }
    Ok(())
}
