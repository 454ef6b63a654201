//! What is lost on this host, and notes that are no loss: data for programs, and a line for people.

use crate::config::Who;
use crate::{Error, Names, Setting};
use std::fmt;
use std::path::PathBuf;

/// Something that fsmon cannot do here. `Display` gives one line, with the remedy if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Degradation {
    /// A root cannot be watched, and why.
    Root(Error),
    /// A root on a network filesystem: changes made on other hosts give no event.
    SharedFilesystem {
        /// The root.
        path: PathBuf,
        /// The filesystem's type.
        fs_type: String,
    },
    /// An overlay whose upper layer cannot be heard.
    UpperLayer {
        /// The root.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// In new directories of an overlay that is heard by its upper layer, splice(2) and sendfile(2) give no events.
    SplicedWrites(PathBuf),
    /// `hard_links` while each directory has its own mark: changes through outside names are not seen.
    HardLinks(PathBuf),
    /// Other filesystems are mounted below a root.
    MountsBelow {
        /// The root.
        path: PathBuf,
        /// Where they are mounted.
        points: Vec<PathBuf>,
    },
    /// Directories from outside of a root are mounted below it.
    DirectoriesBelow {
        /// The root.
        path: PathBuf,
        /// Where they are mounted.
        points: Vec<PathBuf>,
    },
    /// There is no room for more filesystems.
    Filesystems {
        /// How many there is room for.
        room: usize,
        /// How many are not watched.
        left: usize,
    },
    /// Mounts cannot be followed at all, and why.
    Mounts(String),
    /// Mounts that come later cannot be watched, and why.
    LaterMounts(String),
    /// Directories beyond `Config::dirs_max`.
    DirsMax(u64),
    /// With `hard_links`, files for which there was no room.
    FilesMax(u64),
    /// Directories that could not be read.
    Unreadable {
        /// How many.
        count: u64,
        /// The error of the first.
        first: String,
    },
    /// io_uring is not used, and why.
    Uring(String),
    /// The source of process names is not the best one.
    Names {
        /// The one in use.
        who: Who,
        /// Why no better one is in use; empty if none was requested.
        why: Vec<String>,
    },
    /// Users of processes are read after the fact, and why; empty if nothing else was requested.
    Users(Vec<String>),
    /// No filesystem with programs can be marked.
    Programs,
    /// The rings of process messages are smaller than intended.
    SmallRings {
        /// Bytes for each CPU.
        bytes: usize,
        /// Intended bytes.
        wanted: usize,
        /// Why.
        why: String,
    },
    /// The BPF programs do not send everything they could.
    SmallPrograms {
        /// Whether command lines are left out as well.
        cmdline: bool,
        /// Why.
        why: String,
    },
    /// Not every command line is reported.
    CommandLines(CommandLines),
}

/// Which command lines are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandLines {
    /// Those of processes that ran before fsmon.
    Before,
    /// Those of short-lived processes.
    ShortLived,
    /// All.
    All,
}

impl Degradation {
    /// The line, with these names of settings. `Display` has [`Setting::words`].
    #[must_use]
    pub fn line(&self, names: Names) -> String {
        match self {
            Degradation::Root(why) => why.line(names),
            Degradation::DirsMax(count) => {
                let beyond = if *count == 1 { "directory is" } else { "directories are" };
                let limit = names(Setting::DirsMax);
                format!(
                    "{count} {beyond} beyond {limit}: changes in them and below are not seen; raise it"
                )
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Degradation::Root(_) | Degradation::DirsMax(_) => f.write_str(&self.line(Setting::words)),
            Degradation::SharedFilesystem { path, fs_type } => write!(
                f,
                "{} is on {fs_type}: changes made elsewhere, on its server or behind it, are not seen; watch it \
                 where it is kept",
                path.display()
            ),
            Degradation::UpperLayer { path, why } => write!(
                f,
                "overlay {}: what is done in a new directory within its first moment is not seen, as its upper \
                 layer cannot be heard: {why}",
                path.display()
            ),
            // Seen on 6.18: only the overlay's own file reports these (fs/splice.c, fs/backing-file.c).
            Degradation::SplicedWrites(path) => write!(
                f,
                "in new directories of the overlay {} sendfile(2) and splice(2) give no MODIFY and no ACCESS; the \
                 close is reported",
                path.display()
            ),
            Degradation::HardLinks(path) => write!(
                f,
                "changes in {} through hard links outside of it are not seen, as each directory has its own mark \
                 there",
                path.display()
            ),
            Degradation::MountsBelow { path, points } => write!(
                f,
                "other filesystems below {} are not watched: {}; name those that are to be",
                path.display(),
                Points(points)
            ),
            Degradation::DirectoriesBelow { path, points } => write!(
                f,
                "directories from outside of {} are mounted below it and not watched: {}; name those that are to be",
                path.display(),
                Points(points)
            ),
            Degradation::Filesystems { room, left } => write!(
                f,
                "there is room for {room} filesystems: {left} more below the watched paths are not watched; start a \
                 second fsmon for some"
            ),
            Degradation::Mounts(why) => write!(
                f,
                "what is mounted over watched directories is not seen, as /proc/self/mountinfo cannot be followed: \
                 {why}"
            ),
            Degradation::LaterMounts(why) => {
                write!(f, "mounts that come later are not watched: {why}")
            }
            Degradation::FilesMax(count) => write!(
                f,
                "there was no room for {count} files: changes of these through hard links are not seen"
            ),
            Degradation::Unreadable { count: 1, first } => {
                write!(f, "changes in or below one directory are not seen: {first}")
            }
            Degradation::Unreadable { count, first } => write!(
                f,
                "changes in or below {count} directories are not seen, as they could not be read; of the first: \
                 {first}"
            ),
            Degradation::Uring(why) => {
                write!(f, "io_uring is not used, but poll, at the same pace: {why}")
            }
            Degradation::Names { who, why } => write!(f, "{}{}", without(*who), Reasons(why)),
            Degradation::Users(why) => write!(
                f,
                "without the proc connector the user of a process is read after the fact{}",
                Reasons(why)
            ),
            Degradation::Programs => f.write_str(NO_PROGRAMS),
            Degradation::SmallRings { bytes, wanted, why } => write!(
                f,
                "messages about processes have room for {} KiB on each CPU instead of {}, and are lost where many \
                 come and go at once: {why}",
                bytes >> 10,
                wanted >> 10
            ),
            Degradation::SmallPrograms { cmdline, why } => {
                let cmdlines = if *cmdline { "command lines are left out, and " } else { "" };
                write!(
                    f,
                    "with the smaller BPF programs that this kernel takes {cmdlines}paths of executables are read \
                     from /proc after the fact: {why}"
                )
            }
            Degradation::CommandLines(which) => f.write_str(match which {
                CommandLines::Before => {
                    "command lines of processes that ran before fsmon are left out: this kernel does not report when \
                     one begins another exec"
                }
                CommandLines::ShortLived => {
                    "without BPF command lines are read from /proc after the fact: those of short-lived processes \
                     are left out"
                }
                CommandLines::All => {
                    "without perf command lines are left out: with this source of process names one could be that \
                     of a later exec"
                }
            }),
        }
    }
}

pub(crate) const NO_PROGRAMS: &str = "no filesystem with programs can be marked: a process that execs between two of \
                                      its events is named ambiguously";

/// What is lost without the sources above `who`.
fn without(who: Who) -> &'static str {
    match who {
        Who::Auto | Who::Bpf => "",
        Who::Tracepoint => {
            "without BPF a change of user or name among a process's changes of files is flagged ambiguous"
        }
        Who::Comm => {
            "without the exec tracepoint an event has no exec, its exe is read late, and its cgroup is that at the \
             start"
        }
        Who::Connector => {
            "without perf the name of a process is read after exec: of short-lived ones it is missed or wrong"
        }
        Who::Proc => {
            "without perf and the proc connector processes are looked up after the event: short-lived ones are \
             unknown"
        }
    }
}

/// A note that is no loss. `Display` gives one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A root does not exist yet.
    NotThereYet(PathBuf),
    /// An overlay is heard by its upper layer, and so are all others on that filesystem.
    UpperLayer {
        /// The root.
        path: PathBuf,
        /// The upper layer's directory.
        layer: PathBuf,
        /// The type of the filesystem that it is on.
        fs_type: String,
    },
    /// A directory below a root is mounted again: its changes have the path of the directory.
    MountedAgain {
        /// The mount.
        point: PathBuf,
        /// The directory.
        path: PathBuf,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::NotThereYet(path) => {
                write!(f, "{} does not exist yet; watched from when it appears", path.display())
            }
            Note::UpperLayer { path, layer, fs_type } => write!(
                f,
                "overlay {}: new directories are heard by its upper layer, {}: all changes on that {fs_type} come to \
                 fsmon, which drops those of others",
                path.display(),
                layer.display()
            ),
            Note::MountedAgain { point, path } => write!(
                f,
                "{} is {}, mounted again: its changes have that path",
                point.display(),
                path.display()
            ),
        }
    }
}

/// Paths, separated by commas.
struct Points<'a>(&'a [PathBuf]);

impl fmt::Display for Points<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, point) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{}", point.display())?;
        }
        Ok(())
    }
}

/// Each after a colon.
struct Reasons<'a>(&'a [String]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|why| write!(f, ": {why}"))
    }
}
