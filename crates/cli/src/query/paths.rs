//! The paths that are asked for, under each name that records may have for them.

use fsmon_engine::Error;
use fsmon_present::filter::real;
use fsmon_present::message::shown;
use std::path::{Component, Path, PathBuf};

/// Each path with all its names: as it is written, made absolute; and without symbolic links, as far as it exists. A link
/// is meant itself, and what it leads to.
///
/// # Errors
/// A path is empty, or the current directory is gone.
pub(super) fn named(paths: &[PathBuf]) -> Result<Vec<Vec<PathBuf>>, Error> {
    paths.iter().map(|path| names(path)).collect()
}

fn names(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let absolute = std::path::absolute(path).map_err(|error| {
        Error::os(
            format!("cannot make {} absolute; write a path that begins with /", shown(path)),
            error,
        )
    })?;
    let written = without_dots(&absolute);
    let in_real = match (written.parent(), written.file_name()) {
        (Some(dir), Some(name)) => real(dir).join(name),
        _ => written.clone(),
    };
    let mut names = vec![written];
    for name in [in_real, without_dots(&real(&absolute))] {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Without `.` and `..`, by its names alone.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_names_that_records_may_have() {
        let area = tempfile::tempdir().expect("a directory");
        let base = area.path().canonicalize().expect("there");
        std::fs::create_dir(base.join("dir")).expect("made");
        std::os::unix::fs::symlink("dir", base.join("link")).expect("linked");
        let names = |path: &str| {
            let names = names(&base.join(path)).expect("absolute");
            let below = |name: PathBuf| name.strip_prefix(&base).expect("below").to_owned();
            names.into_iter().map(below).collect::<Vec<_>>()
        };
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(names("dir"), paths(&["dir"]));
        assert_eq!(names("dir/gone/x"), paths(&["dir/gone/x"]));
        assert_eq!(names("link"), paths(&["link", "dir"]));
        assert_eq!(names("link/gone"), paths(&["link/gone", "dir/gone"]));
        assert_eq!(names("./dir/../gone/."), paths(&["gone"]));
        assert!(super::names(Path::new("")).is_err());
    }
}
