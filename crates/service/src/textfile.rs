//! Metrics as a file for the textfile collector of node_exporter: written whole, and renamed over the old one.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Everybody may read it: it has counts, and no name of a file or user.
const MODE: u32 = 0o644;

/// Writes the file. A reader sees the old content or the new one, never a part.
///
/// # Errors
/// It cannot be written; the old one stays. A file in its place that nobody should have put there, such as a symbolic
/// link, is replaced and never followed.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    // node_exporter reads *.prom only.
    name.push(".new");
    let new = Path::new(&name);
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(MODE).custom_flags(nix::libc::O_NOFOLLOW);
    let written = options.open(new).and_then(|mut file| {
        // The umask may have taken bits away.
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(text.as_bytes())
    });
    written.and_then(|()| fs::rename(new, path)).inspect_err(|_| drop(fs::remove_file(new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn it_is_replaced_as_a_whole_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, victim) = (dir.path().join("fsmon.prom"), dir.path().join("victim"));
        fs::write(&victim, "mine").expect("written");
        symlink(&victim, dir.path().join("fsmon.prom.new")).expect("linked");
        symlink(&victim, &path).expect("linked");
        write(&path, "fsmon_events_total 1\n").expect("written");
        assert_eq!(fs::read_to_string(&victim).expect("there"), "mine");
        let data = fs::symlink_metadata(&path).expect("there");
        assert!(data.is_file() && data.permissions().mode() & 0o777 == MODE);
        write(&path, "fsmon_events_total 2\n").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "fsmon_events_total 2\n");
        assert!(write(&dir.path().join("no/such/dir"), "").is_err());
    }
}
