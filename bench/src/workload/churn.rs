//! Files made, written, closed, renamed and removed, in turn, in many directories.

use super::Counts;
use fsmon_format::number::to_usize;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which directories the files are spread over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// 64 beside each other.
    Flat,
    /// 64 within each other.
    Deep,
    /// 5,000 beside each other.
    Wide,
}

/// What is done to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cycle {
    /// Made, written, closed, renamed, removed.
    Renamed,
    /// The same without the rename.
    Plain,
    /// There already, and open: written to.
    Written,
}

/// The parameters of a churn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Churn {
    pub(crate) shape: Shape,
    pub(crate) cycle: Cycle,
}

impl Churn {
    /// The usual one.
    pub(crate) const USUAL: Churn = Churn { shape: Shape::Flat, cycle: Cycle::Renamed };

    /// As an argument.
    pub(crate) fn name(self) -> String {
        format!("{:?}-{:?}", self.shape, self.cycle)
    }

    fn named(name: &str) -> Option<Self> {
        let shapes = [Shape::Flat, Shape::Deep, Shape::Wide];
        let cycles = [Cycle::Renamed, Cycle::Plain, Cycle::Written];
        let all =
            shapes.iter().flat_map(|shape| cycles.map(|cycle| Churn { shape: *shape, cycle }));
        all.into_iter().find(|churn| churn.name() == name)
    }

    /// What so many iterations change.
    pub(crate) fn counts(self, iterations: u64) -> Counts {
        match self.cycle {
            Cycle::Renamed => {
                Counts { creates: iterations, renames: iterations, deletes: iterations }
            }
            Cycle::Plain => Counts { creates: iterations, renames: 0, deletes: iterations },
            Cycle::Written => Counts::default(),
        }
    }

    fn dirs(self, root: &Path) -> Vec<PathBuf> {
        match self.shape {
            Shape::Flat => (0..64).map(|i| root.join(format!("d{i:02}"))).collect(),
            Shape::Wide => (0..5000).map(|i| root.join(format!("d{i:04}"))).collect(),
            Shape::Deep => {
                let deeper = |above: &PathBuf| Some(above.join("deeper"));
                std::iter::successors(Some(root.join("deep")), deeper).take(64).collect()
            }
        }
    }

    /// Makes the directories, and the files that are only written to.
    pub(crate) fn prepare(self, root: &Path) -> io::Result<()> {
        for dir in self.dirs(root) {
            fs::create_dir_all(&dir)?;
            if self.cycle == Cycle::Written {
                File::create(dir.join(WRITTEN))?;
            }
        }
        Ok(())
    }
}

/// The file in each directory that is written to.
const WRITTEN: &str = "written";

/// `@churn ROOT KIND INDEX ITERATIONS`: one worker.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    super::worker(|| {
        let [root, churn, index, count] = args else {
            return Err(io::Error::other("four arguments"));
        };
        let (index, count) = (super::number(index)?, super::number(count)?);
        let churn = churn.to_str().and_then(Churn::named);
        let churn = churn.ok_or_else(|| io::Error::other("no such churn"))?;
        let dirs = churn.dirs(Path::new(root));
        let open = |dir: &PathBuf| File::options().append(true).open(dir.join(WRITTEN));
        let files = match churn.cycle {
            Cycle::Written => dirs.iter().map(open).collect::<io::Result<Vec<_>>>()?,
            _ => vec![],
        };
        Ok(move || match churn.cycle {
            Cycle::Written => write(&files, index, count),
            cycle => remake(&dirs, cycle, index, count),
        })
    })
}

/// Which of `len` directories or files process `index` uses in its cycle `i`.
fn in_turn(i: u64, index: u64, len: usize) -> usize {
    to_usize((i + index * 17) % len as u64)
}

/// Names are never used twice, so no two events can merge that belong to different files.
fn remake(dirs: &[PathBuf], cycle: Cycle, index: u64, count: u64) -> io::Result<()> {
    for i in 0..count {
        let dir = &dirs[in_turn(i, index, dirs.len())];
        let made = dir.join(format!("p{index}-{i}.tmp"));
        File::create(&made)?.write_all(b"churn")?;
        if cycle == Cycle::Plain {
            fs::remove_file(&made)?;
            continue;
        }
        let moved = dir.join(format!("p{index}-{i}"));
        fs::rename(&made, &moved)?;
        fs::remove_file(&moved)?;
    }
    Ok(())
}

/// Each write is to another file, so that an event seldom merges into one that still waits.
fn write(files: &[File], index: u64, count: u64) -> io::Result<()> {
    for i in 0..count {
        (&files[in_turn(i, index, files.len())]).write_all(b"churn")?;
    }
    Ok(())
}
