//! The keys of the configuration, each in one place: what the reader takes, what a misspelled key is compared with,
//! and what the sample configuration must name.

use fsmon_format::error::{Error, Setting};

/// How similar a word must be to a key to be taken for a misspelling (Jaro similarity, 0 to 1).
const ALIKE: f64 = 0.7;

/// A table of the configuration.
#[derive(Debug)]
pub(super) struct Section {
    /// The name for messages.
    pub(super) name: &'static str,
    /// What stands before its keys in messages.
    pub(super) prefix: &'static str,
    /// Its keys.
    pub(super) keys: &'static [&'static str],
}

pub(super) const TOP: Section = Section {
    name: "the file",
    prefix: "",
    keys: &["history", "control", "sessions", "state", "metrics", "queue", "engine", "watch"],
};
pub(super) const HISTORY: Section =
    Section { name: "[history]", prefix: "history.", keys: &["dir", "rotate", "keep", "compress"] };
pub(super) const ROTATE: Section =
    Section { name: "history.rotate", prefix: "history.rotate.", keys: &["size", "age"] };
pub(super) const KEEP: Section = Section {
    name: "history.keep",
    prefix: "history.keep.",
    keys: &["size", "age", "free", "at_least"],
};
pub(super) const CONTROL: Section =
    Section { name: "[control]", prefix: "control.", keys: &["socket", "group"] };
pub(super) const SESSIONS: Section = Section {
    name: "[sessions]",
    prefix: "sessions.",
    keys: &["enabled", "socket", "max", "max_per_user", "reads"],
};
pub(super) const STATE: Section = Section { name: "[state]", prefix: "state.", keys: &["file"] };
pub(super) const METRICS: Section =
    Section { name: "[metrics]", prefix: "metrics.", keys: &["textfile", "listen"] };
pub(super) const QUEUE: Section =
    Section { name: "[queue]", prefix: "queue.", keys: &["max_bytes"] };
pub(super) const ENGINE: Section = Section {
    name: "[engine]",
    prefix: "engine.",
    keys: &[
        "cpu",
        "batch_window",
        "per_filesystem",
        "max_dirs",
        "max_processes",
        "redact",
        "require",
    ],
};
pub(super) const WATCH: Section = Section {
    name: "[[watch]]",
    prefix: "watch.",
    keys: &[
        "path",
        "include",
        "exclude",
        "include_regex",
        "exclude_regex",
        "exclude_cmd",
        "exclude_user",
        "exclude_cgroup",
        "types",
        "recursive",
        "max_depth",
        "size",
        "hard_links",
        "follow_mounts",
        "cmdline",
    ],
};
/// A state file has watches only.
pub(super) const STATE_TOP: Section =
    Section { name: "a state file", prefix: "", keys: &["watch"] };

/// All tables of a configuration.
pub(super) const SECTIONS: [&Section; 11] = [
    &TOP, &HISTORY, &ROTATE, &KEEP, &CONTROL, &SESSIONS, &STATE, &METRICS, &QUEUE, &ENGINE, &WATCH,
];

impl Section {
    /// What to say of a key that the section lacks: the nearest of its own, or where that key belongs.
    pub(super) fn remedy(&self, unknown: &str) -> String {
        if self.keys.contains(&"exclude_cmd") && ["cmd", "user", "cgroup", "pid"].contains(&unknown)
        {
            return "a watch records what all do that it does not exclude; choose when you read, such as by fsmon decode --cmd"
                .to_owned();
        }
        if let Some(known) = nearest(unknown, self.keys) {
            return format!("did you mean `{known}`?");
        }
        let elsewhere = SECTIONS.iter().find(|section| section.keys.contains(&unknown));
        match elsewhere {
            // Sections of the same name, such as those of a state file, are no other place.
            Some(section) if section.name != TOP.name => format!("it belongs in {}", section.name),
            _ => format!("its keys are {}", self.keys.join(", ")),
        }
    }
}

/// The most similar key, if one is similar at all.
fn nearest(word: &str, keys: &[&'static str]) -> Option<&'static str> {
    let alike = keys.iter().map(|key| (strsim::jaro(word, key), *key));
    // In a short word two swapped letters are much.
    let alike = alike.filter(|(alike, key)| *alike > ALIKE || strsim::osa_distance(word, key) <= 1);
    alike.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, key)| key)
}

/// The key of a setting, as messages have it.
pub(super) fn of(setting: Setting) -> &'static str {
    match setting {
        Setting::Roots => "`path`",
        Setting::Backend => "the backend",
        Setting::Cpu => "`engine.cpu`",
        Setting::Who => "`engine.require`",
        Setting::DirsMax => "`engine.max_dirs`",
        Setting::ProcessesMax => "`engine.max_processes`",
        Setting::Types => "`types`",
        Setting::Include => "`include`",
        Setting::Exclude => "`exclude`",
        // No key says what commands, users and control groups are recorded: what is not excluded is. Messages have it in
        // "write … 'x'", as the opposite of an excluded one.
        Setting::Cmd => "no `exclude_cmd` for",
        Setting::ExcludeCmd => "`exclude_cmd`",
        Setting::Exe => "the program",
        Setting::User => "no `exclude_user` for",
        Setting::IncludeRegex => "`include_regex`",
        Setting::ExcludeRegex => "`exclude_regex`",
        Setting::ExcludeUser => "`exclude_user`",
        Setting::Cgroup => "no `exclude_cgroup` for",
        Setting::ExcludeCgroup => "`exclude_cgroup`",
        Setting::Redact => "`engine.redact`",
        Setting::Pid => "the process",
    }
}

/// The line of an error without the key that it begins with: for a message that names the key itself.
pub(super) fn without(error: &Error) -> String {
    let line = error.line(of);
    let key = error.setting().map(|setting| format!("{}: ", of(setting)));
    let bare = key.and_then(|key| line.strip_prefix(&key).map(str::to_owned));
    bare.unwrap_or(line)
}
