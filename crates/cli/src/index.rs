//! `fsmon index`: makes the indexes that a directory of segments lacks.

use crate::args::history::IndexArgs;
use fsmon_engine::{Error, ErrorKind};
use fsmon_present::message::{self, counted, shown};
use fsmon_store::index::{Made, make, missing, seed};
use fsmon_store::{is_written, list};
use std::fs::File;

/// Makes each index that is missing, damaged or of another version; leaves the segments that are being written alone.
///
/// # Errors
/// The directory cannot be read, a segment cannot, or an index cannot be written; all others are made.
pub(crate) fn run(args: &IndexArgs) -> Result<(), Error> {
    let dir = &args.dir;
    let files = list(dir)?.into_iter().filter_map(|file| {
        let name = file.path.file_name()?.to_str()?.to_owned();
        let is_closed = File::open(&file.path).is_ok_and(|file| !is_written(&file));
        (is_closed && file.header.is_some()).then_some(name)
    });
    let files: Vec<String> = files.collect();
    let (seed, mut result) = (seed(dir), Ok(()));
    let (mut made, mut damaged) = (0, 0);
    for file in missing(dir, &files) {
        match make(dir, &file, seed, || true) {
            Ok(Made::Indexed { .. }) => made += 1,
            Ok(Made::Damaged) => {
                damaged += 1;
                message::print(format_args!(
                    "{} is damaged, and gets no index: it is read as a whole each time",
                    shown(&dir.join(&file))
                ));
            }
            Ok(_) => {}
            Err(error) => {
                message::print(&error);
                result = Err(Error::new(error.kind(), "not all indexes were made"));
            }
        }
    }
    let have = files.len() as u64;
    message::print(format_args!(
        "{} made; {} in {}",
        counted(made, "index", "indexes"),
        counted(have, "closed segment", "closed segments"),
        shown(dir)
    ));
    if damaged > 0 {
        let segments = counted(damaged, "segment is", "segments are");
        return Err(Error::new(ErrorKind::Damaged, format!("{segments} damaged")));
    }
    result
}
