//! `fsmon daemon --check`: what is wrong with a configuration, or what it would watch.

use fsmon_harness::{Area, Ended, Fsmon, fsmon};
use std::path::{Path, PathBuf};

/// A configuration whose other files are in the area, too.
fn configuration(area: &Area, text: &str) -> PathBuf {
    let path = area.path("fsmon.toml");
    let at = area.path("").display().to_string();
    let own = format!(
        "history.dir = '{at}/history'\nstate.file = '{at}/watches.toml'\ncontrol.group = ''\n{text}"
    );
    std::fs::write(&path, own).expect("written");
    path
}

fn check(path: &Path) -> Ended {
    Fsmon::run(fsmon(["daemon", "--check", "--config"]).arg(path))
}

#[test]
fn a_right_configuration_says_what_would_be_watched() {
    let area = Area::new();
    let (here, coming) = (area.watched(), area.path("coming"));
    let (here, coming) = (here.display(), coming.display());
    let path = configuration(
        &area,
        &format!(
            "[[watch]]\npath = '{here}'\n[[watch]]\npath = '{coming}'\nrecursive = false\n\
             types = ['OPEN']\n"
        ),
    );
    let ended = check(&path);
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    assert!(ended.stderr.is_empty(), "{:?}", ended.stderr);
    let said = String::from_utf8(ended.stdout).expect("UTF-8");
    for line in [
        format!("  {here}: CREATE RENAME ATTRIB CLOSE_WRITE DELETE; recursive"),
        format!("  {coming}: OPEN; not recursive; pending: it does not exist yet"),
        format!(
            "  OPEN because of {coming}: the kernel reports such events of all watched filesystems"
        ),
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
}

#[test]
fn what_is_wrong_is_one_line_and_its_exit_status() {
    let area = Area::new();
    let ended = check(&configuration(&area, "\n[[watch]]\npath = '/srv'\nexlude = ['x']"));
    let name = area.path("fsmon.toml").display().to_string();
    ended.assert_failed(2, &[&format!("{name}:7:1: unknown key"), "`exclude`"]);
    assert_eq!(ended.stderr.len(), 1, "{:?}", ended.stderr);

    let user = "[[watch]]\npath = '/srv'\nexclude_user = ['no-such-user-here']";
    let ended = check(&configuration(&area, user));
    ended.assert_failed(2, &[&format!("{name}: watch of /srv: `exclude_user`: "), "getent"]);
    assert_eq!(ended.stderr.len(), 1, "{:?}", ended.stderr);

    let missing = check(&area.path("missing.toml"));
    missing.assert_failed(1, &["missing.toml", "No such file"]);
    assert_eq!(missing.stderr.len(), 1, "{:?}", missing.stderr);
}
