//! The results that are kept, by their names.

use crate::results::Results;
use std::collections::BTreeMap;
use std::path::Path;

/// The newest results of each name.
pub(super) struct Kept(BTreeMap<String, (String, Results)>);

impl Kept {
    /// Reads a directory. The date comes first in a file's name, so the last one is the newest.
    pub(super) fn read(dir: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
        let mut newest: BTreeMap<String, String> = BTreeMap::new();
        for entry in dir.read_dir().map_err(failed)? {
            let file = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            let Some(name) = name(&file) else { continue };
            let of_name = newest.entry(name.to_owned()).or_default();
            *of_name = file.max(std::mem::take(of_name));
        }
        let read = |(name, file): (String, String)| {
            let results = Results::read(&dir.join(&file))?;
            Ok((name, (file, results)))
        };
        newest.into_iter().map(read).collect::<Result<_, String>>().map(Kept)
    }

    /// The newest of this name, and its file.
    pub(super) fn newest(&self, name: &str) -> Option<&(String, Results)> {
        self.0.get(name)
    }

    /// Their files.
    #[cfg(test)]
    pub(super) fn files(&self) -> impl Iterator<Item = &String> {
        self.0.values().map(|(file, _)| file)
    }
}

/// The name in a file name: `apart` for `2026-11-30T034103Z-apart.json`; `None` if it has none.
fn name(file: &str) -> Option<&str> {
    let (_, name) = file.strip_suffix(".json")?.split_once("Z-")?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_behind_the_date() {
        assert_eq!(name("2026-11-30T034103Z-per-core.json"), Some("per-core"));
        assert_eq!(name("2026-11-30T034103Z.json"), None);
        assert_eq!(name("2026-11-30T034103Z-apart.txt"), None);
    }

    #[test]
    fn the_newest_of_a_name_counts() {
        let dir = std::env::temp_dir().join(format!("fsmon-bench-kept-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        for date in ["2026-11-30", "2026-12-01", "2026-11-29"] {
            let text = format!(r#"{{"date":"{date}","machine":null}}"#);
            std::fs::write(dir.join(format!("{date}T000000Z-a.json")), text).expect("written");
        }
        let kept = Kept::read(&dir);
        std::fs::remove_dir_all(&dir).expect("removed");
        let kept = kept.expect("all can be read");
        let (file, results) = kept.newest("a").expect("there are some");
        assert_eq!((&file[..], results.date()), ("2026-12-01T000000Z-a.json", "2026-12-01"));
        assert!(kept.newest("b").is_none());
    }
}
