//! The line that says what is not known, and what to do about it.

use fsmon_format::record::Cause;
use fsmon_present::message::{counted, shown};
use fsmon_store::changes::Trouble;
use jiff::Timestamp;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest list of paths in the line.
const PATHS_SHOWN: usize = 3;

/// One line: rescan what, and why.
pub(super) fn line(troubles: &[Trouble], asked: &[Vec<u8>], roots: &[Vec<u8>]) -> String {
    let places: Option<Vec<&Vec<u8>>> = troubles.iter().map(place).collect();
    let all = if asked.is_empty() { roots } else { asked };
    let places = places.unwrap_or_else(|| all.iter().collect());
    let others = match troubles.len() - 1 {
        0 => String::new(),
        more => format!(", and {} more", counted(more as u64, "such thing", "such things")),
    };
    format!("rescan {}: {}{others}", list(&places), why(&troubles[0]))
}

/// What a trouble is about; `None`: everything.
fn place(trouble: &Trouble) -> Option<&Vec<u8>> {
    match trouble {
        Trouble::Loss(_, Some(path)) | Trouble::Unwatched(path) => Some(path),
        _ => None,
    }
}

fn list(paths: &[&Vec<u8>]) -> String {
    let one = |path: &&Vec<u8>| match path.is_empty() {
        true => "/".to_owned(),
        false => path_of(path),
    };
    let mut names: Vec<_> = paths.iter().map(one).collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(PATHS_SHOWN);
    names.truncate(PATHS_SHOWN);
    let names = if names.is_empty() { "everything".to_owned() } else { names.join(", ") };
    if more == 0 { names } else { format!("{names} and {more} more") }
}

fn path_of(path: &[u8]) -> String {
    shown(Path::new(OsStr::from_bytes(path)))
}

fn why(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Loss(reason, _) => {
            format!("something is missing in the record (LOSS, {})", reason.name())
        }
        Trouble::Gap(cause, from_ns, to_ns) => format!(
            "nothing was recorded from {} to {}, as {}",
            time(*from_ns),
            time(*to_ns),
            because(*cause)
        ),
        Trouble::BeginsLate(ns) => format!("the history begins at {}", time(*ns)),
        Trouble::Deleted => "a part of the history was deleted".to_owned(),
        Trouble::Unwatched(path) => {
            format!("{} was not watched all the time", list(&[path]))
        }
        _ => "for a reason that this version does not know".to_owned(),
    }
}

fn because(cause: Cause) -> &'static str {
    match cause {
        Cause::Stopped => "the recorder was stopped",
        Cause::Killed => "the recorder was killed",
        Cause::Reboot => "the host was rebooted",
        Cause::Disk => "the disk could not be written to",
        Cause::Unknown | Cause::Other(_) => "for a reason that nobody knows",
    }
}

fn time(ns: u64) -> String {
    let at = Timestamp::from_nanosecond(ns.into()).unwrap_or(Timestamp::MAX);
    at.to_string()
}
