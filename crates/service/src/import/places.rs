//! Where fsmon 0.2.6 and 0.5 keep their files.

use super::Version;
use nix::unistd::{Uid, User, geteuid};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The configuration of both, below `~/.config` or XDG_CONFIG_HOME.
const SETTINGS: &str = "fsmon/fsmon.toml";
/// What is watched, below the home directory, unless the configuration says otherwise.
const STORES: [(Version, &str); 2] = [
    (Version::Managed, ".local/share/fsmon/managed.jsonl"),
    (Version::Monitored, ".local/share/fsmon/monitored.jsonl"),
];

/// The home directories to look into, and whose files are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Files may belong to this user, or to root.
    pub owner: u32,
    /// The user's own comes first.
    pub homes: Vec<Home>,
}

/// The home directory of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The directory.
    pub dir: PathBuf,
    /// Where configurations are instead of `.config` in it.
    pub config: Option<PathBuf>,
}

impl Places {
    /// Those of this process: of its user, and under sudo of the user who called it, then root.
    #[must_use]
    pub fn of_this_process() -> Self {
        let home_of = |uid| User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.dir);
        Places::new(geteuid().as_raw(), |name| std::env::var_os(name), home_of)
    }

    /// `home_of` looks up the home directory of a user.
    fn new(
        uid: u32,
        variable: impl Fn(&str) -> Option<OsString>,
        home_of: impl Fn(u32) -> Option<PathBuf>,
    ) -> Self {
        let path = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caller = variable("SUDO_UID").and_then(|uid| uid.to_str()?.parse().ok());
        // Only root can be asked to act for another user.
        if let Some(caller) = caller.filter(|caller| uid == 0 && *caller != 0) {
            let homes = [caller, 0].into_iter().filter_map(home_of);
            let homes = homes.map(|dir| Home { dir, config: None }).collect();
            return Places { owner: caller, homes };
        }
        let dir = path("HOME").or_else(|| home_of(uid));
        let home = dir.map(|dir| Home { dir, config: path("XDG_CONFIG_HOME") });
        Places { owner: uid, homes: home.into_iter().collect() }
    }
}

impl Home {
    /// The configuration.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        let config = self.config.clone().unwrap_or_else(|| self.dir.join(".config"));
        config.join(SETTINGS)
    }

    /// The files with what is watched, where the configuration does not name that of the version.
    #[must_use]
    pub fn stores(&self) -> [(Version, PathBuf); 2] {
        STORES.map(|(version, store)| (version, self.dir.join(store)))
    }

    /// A path with this directory in place of a `~` that it begins with.
    #[must_use]
    pub fn expanded(&self, path: &Path) -> PathBuf {
        path.strip_prefix("~").map_or_else(|_| path.to_owned(), |rest| self.dir.join(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(uid: u32, variables: &[(&str, &str)]) -> Places {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let home_of = |uid| match uid {
            0 => Some(PathBuf::from("/root")),
            1000 => Some(PathBuf::from("/home/a")),
            _ => None,
        };
        Places::new(uid, variable, home_of)
    }

    fn home(dir: &str, config: Option<&str>) -> Home {
        Home { dir: dir.into(), config: config.map(PathBuf::from) }
    }

    #[test]
    fn sudo_is_of_its_caller_and_only_root_can_be_under_it() {
        let under_sudo = [("HOME", "/root"), ("SUDO_UID", "1000"), ("XDG_CONFIG_HOME", "/x")];
        let homes = vec![home("/home/a", None), home("/root", None)];
        assert_eq!(places(0, &under_sudo), Places { owner: 1000, homes });
        let homes = vec![home("/root", Some("/x"))];
        assert_eq!(places(1001, &under_sudo), Places { owner: 1001, homes });
        for sudo in ["0", "-1", "root", "4294967296", ""] {
            let root = places(0, &[("SUDO_UID", sudo)]);
            assert_eq!(root, Places { owner: 0, homes: vec![home("/root", None)] }, "{sudo}");
        }
        let unknown = places(0, &[("SUDO_UID", "4242")]);
        assert_eq!(unknown, Places { owner: 4242, homes: vec![home("/root", None)] });
        let strange = places(7, &[("HOME", "relative")]);
        assert_eq!(strange, Places { owner: 7, homes: vec![] });
    }

    #[test]
    fn a_home_has_three_files() {
        let own = home("/home/a", None);
        assert_eq!(own.settings(), Path::new("/home/a/.config/fsmon/fsmon.toml"));
        assert_eq!(home("/home/a", Some("/x")).settings(), Path::new("/x/fsmon/fsmon.toml"));
        let [(_, managed), (_, monitored)] = own.stores();
        assert_eq!(managed, Path::new("/home/a/.local/share/fsmon/managed.jsonl"));
        assert_eq!(monitored, Path::new("/home/a/.local/share/fsmon/monitored.jsonl"));
        for (path, expected) in
            [("~/x", "/home/a/x"), ("~", "/home/a"), ("/y", "/y"), ("~b/x", "~b/x")]
        {
            assert_eq!(own.expanded(Path::new(path)), Path::new(expected));
        }
    }
}
