//! Messages that name a setting. A library does not know what a program's users call it, so its messages leave the
//! name open: the program passes a function from settings to names, such as those of options.

/// The names of settings, as a program's users know them.
pub type Names = fn(Setting) -> &'static str;

macro_rules! settings {
    ($($(#[$doc:meta])* $setting:ident = $words:literal,)+) => {
        /// What a message is about: a field of the engine's `Config`, or of the `Criteria` of `fsmon-present`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Setting { $($(#[$doc])* $setting,)+ }

        impl Setting {
            /// Every setting.
            pub const ALL: &[Setting] = &[$(Setting::$setting,)+];

            /// The name of the setting where no program gives another one.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self {
                    $(Setting::$setting => $words,)+
                }
            }
        }
    };
}

settings! {
    /// The directories to watch.
    Roots = "the watched directories",
    /// How events are read.
    Backend = "the backend",
    /// Where the reader runs.
    Cpu = "the CPU of the reader",
    /// The source of process names.
    Who = "the source of process names",
    /// Directories that can be known at one time.
    DirsMax = "the limit of directories",
    /// Process images that can be known at one time.
    ProcessesMax = "the limit of processes",
    /// Event types to show.
    Types = "types",
    /// Paths to show.
    Include = "include",
    /// Paths to leave out.
    Exclude = "exclude",
    /// Paths to show, as regular expressions.
    IncludeRegex = "include_regex",
    /// Paths to leave out, as regular expressions.
    ExcludeRegex = "exclude_regex",
    /// Commands to show.
    Cmd = "cmd",
    /// Commands to leave out.
    ExcludeCmd = "exclude_cmd",
    /// Programs to show, by the file that runs.
    Exe = "exe",
    /// Users to show.
    User = "user",
    /// Users to leave out.
    ExcludeUser = "exclude_user",
    /// Control groups to show.
    Cgroup = "cgroup",
    /// Control groups to leave out.
    ExcludeCgroup = "exclude_cgroup",
    /// Words of command lines to hide.
    Redact = "redact",
    /// The process to show.
    Pid = "pid",
}

/// A message that leaves the names of settings open.
#[derive(Clone, Debug)]
pub struct Message(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Name(Setting),
}

impl Message {
    /// The same, followed by text, the name of a setting, or another message.
    #[must_use]
    pub fn and(mut self, more: impl Into<Message>) -> Self {
        self.0.extend(more.into().0);
        self
    }

    /// The message with these names.
    #[must_use]
    pub fn line(&self, names: Names) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Name(setting) => names(*setting),
        });
        parts.collect()
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Message(vec![Part::Text(text)])
    }
}

impl From<Setting> for Message {
    fn from(setting: Setting) -> Self {
        Message(vec![Part::Name(setting)])
    }
}
