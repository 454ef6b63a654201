//! Names of settings, for errors and counters that are about one.

/// A field of the engine's `Config` or of the `Criteria` of `fsmon-present`, by its name there. A program
/// translates it to the name that its users know, such as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// The directories to watch.
    Roots,
    /// The number of this reader, of several.
    Reader,
    /// How events are read.
    Backend,
    /// Where the reader runs.
    Cpu,
    /// The source of process names.
    Who,
    /// Directories that can be known at one time.
    DirsMax,
    /// Process images that can be known at one time.
    ProcessesMax,
    /// Event types to show.
    Types,
    /// Paths to show.
    Include,
    /// Paths to leave out.
    Exclude,
    /// Commands to show.
    Cmd,
    /// Commands to leave out.
    ExcludeCmd,
    /// Users to show.
    User,
    /// The process to show.
    Pid,
}

crate::named!(Setting {
    Roots = "roots",
    Reader = "reader",
    Backend = "backend",
    Cpu = "cpu",
    Who = "who",
    DirsMax = "dirs_max",
    ProcessesMax = "processes_max",
    Types = "types",
    Include = "include",
    Exclude = "exclude",
    Cmd = "cmd",
    ExcludeCmd = "exclude_cmd",
    User = "user",
    Pid = "pid",
});
