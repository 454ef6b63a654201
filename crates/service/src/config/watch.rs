//! `[[watch]]`: what is watched, and what of it is recorded.

use super::document::{Table, Value};
use super::keys;
use super::wire;
use crate::ALWAYS_RECORDED;
use crate::limits::{DEPTH_MAX, PATTERNS_MAX, WATCHES_MAX};
use fsmon_format::error::Error;
use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use fsmon_present::filter::{Criteria, Filter, Roots, Source};
use fsmon_present::size::Size;
use serde::{Deserialize, Serialize};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The types that the kernel reports for nearly every watch.
pub(crate) const USUAL: u32 = kind::DEFAULT | ALWAYS_RECORDED;

/// A watch: a path, what of it is recorded, and how it is watched. Serialized it is a `[[watch]]` again, without
/// what is as by default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Watch {
    /// The directory. Absolute, without `..`, doubled slashes and slashes at the end.
    pub path: PathBuf,
    /// Globs: only paths that match. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Globs: no path that matches, nor anything below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Regular expressions on the whole path: only paths that match. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include_regex: Vec<String>,
    /// Regular expressions on the whole path: no path that matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_regex: Vec<String>,
    /// Globs on the command name: nothing that these commands do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_cmd: Vec<String>,
    /// Names or uids: nothing that these users do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_user: Vec<String>,
    /// Globs on the control group: nothing that processes in these do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_cgroup: Vec<String>,
    /// Names of event types, any case. Empty: the default ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Whether directories below are watched too.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub recursive: bool,
    /// Names below `path`, at most: 1 is what is directly in it. `None`: any depth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u32>,
    /// Of regular files only those of such a size when the change is recorded; all else is recorded. `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::size")]
    pub size: Option<Size>,
    /// Whether changes through hard links outside are recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hard_links: bool,
    /// Whether mounts below are watched too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub follow_mounts: bool,
    /// Whether the command lines of processes are recorded. They can hold secrets.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cmdline: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// The keys of the filters of a watch that are lists.
pub const FILTERS: [&str; 7] = [
    "include",
    "exclude",
    "include_regex",
    "exclude_regex",
    "exclude_cmd",
    "exclude_user",
    "exclude_cgroup",
];

impl Watch {
    /// Its filters that are lists, by key.
    pub(crate) fn filters(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        let lists = [
            &self.include,
            &self.exclude,
            &self.include_regex,
            &self.exclude_regex,
            &self.exclude_cmd,
            &self.exclude_user,
            &self.exclude_cgroup,
        ];
        FILTERS.into_iter().zip(lists.map(Vec::as_slice))
    }

    /// A watch of `path`, all else as by default. Nothing is checked: [`Watch::check`] does that.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Watch {
            path: path.into(),
            include: Vec::new(),
            exclude: Vec::new(),
            include_regex: Vec::new(),
            exclude_regex: Vec::new(),
            exclude_cmd: Vec::new(),
            exclude_user: Vec::new(),
            exclude_cgroup: Vec::new(),
            types: Vec::new(),
            recursive: true,
            max_depth: None,
            size: None,
            hard_links: false,
            follow_mounts: false,
            cmdline: false,
        }
    }

    /// The filter on events, to be built with [`Filter::new`].
    #[must_use]
    pub fn criteria(&self) -> Criteria {
        Criteria {
            types: self.types.clone(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            include_regex: self.include_regex.clone(),
            exclude_regex: self.exclude_regex.clone(),
            exclude_cmd: self.exclude_cmd.clone(),
            exclude_user: self.exclude_user.clone(),
            exclude_cgroup: self.exclude_cgroup.clone(),
            size: self.size,
            ..Criteria::default()
        }
    }

    /// The event types that the watch asks for: bits of [`kind`]. Names that are unknown count for nothing: a watch
    /// that was read or checked has none.
    #[must_use]
    pub fn types(&self) -> u32 {
        if self.types.is_empty() {
            return kind::DEFAULT;
        }
        let bit = |name: &String| match name.trim() {
            name if name.eq_ignore_ascii_case("all") => kind::EVERY,
            name => kind::by_name(name).map_or(0, |kind| kind.bit),
        };
        self.types.iter().map(bit).fold(0, |all, one| all | one)
    }

    /// Those of its types that most watches do not ask for. The kernel reports them of all watched filesystems, and the engine
    /// drops what no watch asks for.
    #[must_use]
    pub fn widens(&self) -> u32 {
        self.types() & !USUAL
    }

    /// Checks a watch that was made by other means than a file, such as by `fsmon add`: the same rules hold, as it will be
    /// read again from the state file. `name` is what errors begin with.
    ///
    /// # Errors
    /// A value is wrong, or the path is not UTF-8: one line. The kind is `Invalid`.
    pub fn check(&self, name: &str) -> Result<(), Error> {
        let text = super::State { watches: vec![self.clone()] }.to_toml()?;
        super::State::from_toml(&text, name)
            .map(drop)
            .map_err(|error| Error::invalid(without_position(&error.to_string(), name)))
    }
}

/// An error about a document that nobody sees: without line and column.
fn without_position(line: &str, name: &str) -> String {
    let rest = line.strip_prefix(name).and_then(|rest| rest.splitn(4, ':').nth(3));
    rest.map_or_else(|| line.to_owned(), |what| format!("{name}:{what}"))
}

/// Reads the list of watches.
///
/// # Errors
/// A wrong value; too many watches; two have the same path.
pub(super) fn watches(top: &Table<'_>) -> Result<Vec<Watch>, Error> {
    let Some(list) = top.value("watch") else { return Ok(Vec::new()) };
    let mut watches: Vec<Watch> = Vec::new();
    for value in list.list("[[watch]], with two brackets, and its keys below", WATCHES_MAX)? {
        let table = value.table(&keys::WATCH)?;
        let watch = watch(&table)?;
        if watches.iter().any(|other| other.path == watch.path) {
            let what = "is watched already, further up; put what is wanted into one [[watch]]";
            return Err(table.wrong("path", what));
        }
        watches.push(watch);
    }
    Ok(watches)
}

fn watch(table: &Table<'_>) -> Result<Watch, Error> {
    let Some(path) = table.read("path", Value::path)? else {
        return Err(table.wrong("path", "is missing; write the directory to watch"));
    };
    let strings = |key, example| table.read_or(key, Vec::new(), |value| value.strings(example));
    let depth = |value: &Value<'_>| value.number(1..=DEPTH_MAX as usize);
    let max_depth = table.read("max_depth", depth)?;
    let default = Watch::new(path);
    let watch = Watch {
        include: strings("include", "*.c")?,
        exclude: strings("exclude", "*.tmp")?,
        include_regex: strings("include_regex", "/v[0-9]+/")?,
        exclude_regex: strings("exclude_regex", "/v[0-9]+/")?,
        exclude_cmd: strings("exclude_cmd", "rsync")?,
        exclude_user: strings("exclude_user", "backup")?,
        exclude_cgroup: strings("exclude_cgroup", "/system.slice/*")?,
        types: strings("types", "CLOSE_WRITE")?,
        recursive: table.read_or("recursive", default.recursive, Value::bool)?,
        max_depth: max_depth.and_then(|depth| depth.try_into().ok()),
        size: table.read("size", size)?,
        hard_links: table.read_or("hard_links", default.hard_links, Value::bool)?,
        follow_mounts: table.read_or("follow_mounts", default.follow_mounts, Value::bool)?,
        cmdline: table.read_or("cmdline", default.cmdline, Value::bool)?,
        path: default.path,
    };
    check_relations(table, &watch)?;
    check_patterns(table, &watch)?;
    Ok(watch)
}

fn size(value: &Value<'_>) -> Result<Size, Error> {
    let expected = "a condition such as \">=1G\"";
    let text = value.string(expected)?;
    text.parse().map_err(|expected| value.bad(text, expected))
}

fn check_relations(table: &Table<'_>, watch: &Watch) -> Result<(), Error> {
    if table.value("types").is_some() && watch.types.is_empty() {
        return Err(table.wrong("types", "is empty; leave it out for the default types"));
    }
    match watch.max_depth {
        Some(depth) if depth > 1 && !watch.recursive => {
            Err(table.wrong("max_depth", "goes deeper than recursive = false; leave one out"))
        }
        _ => Ok(()),
    }
}

/// Checks each pattern by itself, so that the error says which it is.
fn check_patterns(table: &Table<'_>, watch: &Watch) -> Result<(), Error> {
    let mut roots = Roots::default();
    roots.add(&[watch.path.as_os_str().as_bytes().to_vec()], false);
    for (key, criteria) in PATTERNS {
        let Some(list) = table.value(key) else { continue };
        for value in list.list("a list", PATTERNS_MAX)? {
            let text = value.string("a string")?;
            check_pattern(&criteria(text.to_owned()), &roots)
                .map_err(|error| value.wrong(format_args!("has {}", keys::without(&error))))?;
        }
    }
    // Each may be small enough, and all together too large.
    check_pattern(&watch.criteria(), &roots).map_err(|error| {
        let key = error.setting().and_then(|setting| table.key(setting.words())).unwrap_or("path");
        let line = keys::without(&error);
        table.wrong(key, format_args!("has patterns that are too much together: {line}"))
    })
}

/// Makes criteria of one pattern.
type OfPattern = fn(String) -> Criteria;

/// The keys with patterns, and the criteria that one pattern is.
const PATTERNS: [(&str, OfPattern); 8] = [
    ("types", |text| Criteria { types: vec![text], ..Criteria::default() }),
    ("include", |text| Criteria { include: vec![text], ..Criteria::default() }),
    ("exclude", |text| Criteria { exclude: vec![text], ..Criteria::default() }),
    ("include_regex", |text| Criteria { include_regex: vec![text], ..Criteria::default() }),
    ("exclude_regex", |text| Criteria { exclude_regex: vec![text], ..Criteria::default() }),
    ("exclude_cmd", |text| Criteria { exclude_cmd: vec![text], ..Criteria::default() }),
    ("exclude_user", |text| Criteria { exclude_user: vec![text], ..Criteria::default() }),
    ("exclude_cgroup", |text| Criteria { exclude_cgroup: vec![text], ..Criteria::default() }),
];

/// Checks what can be checked without a look at this host.
fn check_pattern(criteria: &Criteria, roots: &Roots) -> Result<(), Error> {
    let nothing = Capacity { dirs: 0, processes: 0, strings: 0, text: 0 };
    Filter::new(criteria, kind::DEFAULT, Source::Recorded, nothing)?.set_roots(roots)
}
