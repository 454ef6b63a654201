//! Files made, written, closed, renamed and removed, in turn, in many directories.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Directories that the files are spread over.
const DIRS: u64 = 64;

/// Makes the directories.
pub(crate) fn prepare(root: &Path) -> io::Result<()> {
    (0..DIRS).try_for_each(|i| fs::create_dir_all(dir(root, i)))
}

fn dir(root: &Path, i: u64) -> PathBuf {
    root.join(format!("d{i:02}"))
}

/// `@churn ROOT INDEX ITERATIONS`: one worker.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    super::worker(|| {
        let [root, index, count] = args else { return Err(io::Error::other("three arguments")) };
        let (index, count) = (super::number(index)?, super::number(count)?);
        let dirs: Vec<PathBuf> = (0..DIRS).map(|i| dir(Path::new(root), i)).collect();
        Ok(move || churn(&dirs, index, count))
    })
}

/// Names are never used twice, so no two events can merge that belong to different files.
fn churn(dirs: &[PathBuf], index: u64, count: u64) -> io::Result<()> {
    for i in 0..count {
        let dir = &dirs[((i + index * 17) % DIRS) as usize];
        let (made, moved) =
            (dir.join(format!("p{index}-{i}.tmp")), dir.join(format!("p{index}-{i}")));
        File::create(&made)?.write_all(b"churn")?;
        fs::rename(&made, &moved)?;
        fs::remove_file(&moved)?;
    }
    Ok(())
}
