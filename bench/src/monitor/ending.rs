//! Ends child processes. Every wait has a limit, and exceeding it is an error.

use crate::sys;
use std::fs;
use std::io;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How often a child that is to end is looked at.
const STEP: Duration = Duration::from_millis(5);
/// How long it has after the order to end: it may have much to write.
const ORDER: Duration = Duration::from_secs(30);
/// What one that does not obey is sent then, and how long it has after each.
const FORCE: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGKILL];
const FORCED: Duration = Duration::from_secs(5);
/// How long standard error may stay open when the process is gone: a descendant may hold it.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Waits for a child for at most `patience`; `None` if it still runs then.
pub(crate) fn wait(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + patience;
    loop {
        let ended = child.try_wait()?;
        if ended.is_some() || Instant::now() >= deadline {
            return Ok(ended);
        }
        std::thread::sleep(STEP);
    }
}

/// Makes a child end with this signal, and says how it did; an error when it took more than that.
pub(crate) fn end(child: &mut Child, order: libc::c_int) -> Result<ExitStatus, String> {
    let mut ignored = Vec::new();
    for signal in std::iter::once(order).chain(FORCE) {
        let patience = if ignored.is_empty() { ORDER } else { FORCED };
        sys::kill(child.id(), signal).map_err(|error| error.to_string())?;
        match wait(child, patience).map_err(|error| error.to_string())? {
            Some(status) if ignored.is_empty() => return Ok(status),
            Some(_) => {
                let ignored = ignored.join(", ");
                return Err(format!("gave up waiting: {ignored}, and ended on {signal} alone"));
            }
            None => {
                let at = whereabouts(child.id());
                ignored.push(format!("did nothing on signal {signal} ({at})"));
            }
        }
    }
    Err(format!("gave up waiting, and left it behind: {}", ignored.join(", ")))
}

/// Ends a child and ignores how.
pub(crate) fn abandon(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        let _ = child.kill();
        if matches!(wait(child, LAST_WORDS), Ok(None)) {
            eprintln!("left process {} behind: it does not even end on SIGKILL", child.id());
        }
    }
}

/// All lines until standard error is closed.
pub(crate) fn last_words(errors: &Receiver<String>) -> Vec<String> {
    let deadline = Instant::now() + LAST_WORDS;
    let next = || errors.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
    std::iter::from_fn(next).collect()
}

/// A process and its descendants, each with the function of the kernel that it sleeps in (proc(5),
/// wchan): what to look at when one does not end.
pub(crate) fn whereabouts(pid: u32) -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let (comm, wchan) = (read("comm"), read("wchan"));
    let own = format!("{}[{pid}] in {}", comm.trim_end(), wchan.trim_end());
    let children = read(&format!("task/{pid}/children"));
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    std::iter::once(own).chain(children.map(whereabouts)).collect::<Vec<_>>().join(", ")
}
