//! Work in steps, each of which waits for its line: nothing hangs on how soon fsmon looks.

use super::{
    Area, Event, Fsmon, Listing, briefs, fsmon, listing, parse_whole, replay, sh, wait_until,
};
use std::fs::{self, File};
use std::path::Path;

/// What a listing follows from.
const TREE: [&str; 4] = ["-f", "json", "-t", "create,delete,rename"];

/// What lies below a root, and the root itself: nothing where it is not there.
pub(crate) fn whole(root: &Path) -> Listing {
    if !root.exists() {
        return Listing::new();
    }
    let mut all = listing(root);
    all.insert(root.to_path_buf(), true);
    all
}

/// The lines, relative to `base`, each with the command.
pub(crate) fn named(events: &[Event], base: &Path) -> Vec<String> {
    let cmd = |event: &Event| event.text("cmd").unwrap_or("?").to_owned();
    let lines = briefs(events, base).into_iter().zip(events);
    lines.map(|(line, event)| format!("{line} by {}", cmd(event))).collect()
}

/// Watches `roots` during some steps, which run in `base`: each is a script, a line that must come of it
/// as [`named`] gives it or without the command, and how often that has come by then. The next begins when it has.
pub(crate) fn watch_in_steps(
    base: &Path,
    roots: &[&Path],
    steps: impl FnOnce(&dyn Fn(&str, &str, usize)),
) -> Vec<Event> {
    let area = Area::new();
    let out = area.path("out");
    let file = File::create(&out).expect("create");
    let running = Fsmon::start_with(fsmon(TREE).args(roots), file.into());
    let told = || parse_whole(&fs::read(&out).expect("read"));
    steps(&|script, line, times| {
        sh(base, script);
        let is_line = |one: &&String| {
            let rest = one.strip_prefix(line);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" by "))
        };
        wait_until(line, || named(&told(), base).iter().filter(is_line).count() >= times);
    });
    running.stop().assert_complete();
    told()
}

/// The same of one root, which need not exist; what is there at the end must follow from the lines.
pub(crate) fn record_in_steps(
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
