//! Work in steps, each of which waits for its line: nothing hangs on how soon fsmon looks.

use super::{Event, Fsmon, Listing, briefs, fsmon, listing, replay, sh};
use std::path::Path;

/// What a listing follows from.
const TREE: [&str; 4] = ["-f", "json", "-t", "create,delete,rename"];

/// What lies below a root, and the root itself: nothing where it is not there.
pub fn whole(root: &Path) -> Listing {
    if !root.exists() {
        return Listing::new();
    }
    let mut all = listing(root);
    all.insert(root.to_path_buf(), true);
    all
}

/// The lines, relative to `base`, each with the command.
pub fn named(events: &[Event], base: &Path) -> Vec<String> {
    let cmd = |event: &Event| event.text("cmd").unwrap_or("?").to_owned();
    let lines = briefs(events, base).into_iter().zip(events);
    lines.map(|(line, event)| format!("{line} by {}", cmd(event))).collect()
}

/// Watches `roots` during some steps, which run in `base`: each is a script, a line that must come of it
/// as [`named`] gives it or without the command, and how often that has come by then. The next begins when it has.
pub fn watch_in_steps(
    base: &Path,
    roots: &[&Path],
    steps: impl FnOnce(&dyn Fn(&str, &str, usize)),
) -> Vec<Event> {
    let running = Fsmon::start(fsmon(TREE).args(roots));
    steps(&|script, line, times| {
        sh(base, script);
        let is_line = |one: &&String| {
            let rest = one.strip_prefix(line);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" by "))
        };
        running
            .wait_until(line, |events| named(events, base).iter().filter(is_line).count() >= times);
    });
    let ended = running.stop();
    ended.assert_complete();
    ended.events()
}

/// The same of one root, which need not exist; what is there at the end must follow from the lines.
pub fn record_in_steps(
    base: &Path,
    root: &Path,
    steps: impl FnOnce(&dyn Fn(&str, &str, usize)),
) -> Vec<Event> {
    let start = whole(root);
    let events = watch_in_steps(base, &[root], steps);
    let (replayed, doubts) = replay(root.parent().expect("it is in one"), start, &events);
    assert!(doubts.is_empty(), "{} lines made no sense: {:#?}", doubts.len(), &doubts[0]);
    assert_eq!(replayed, whole(root), "the lines and what is there: {events:#?}");
    events
}
