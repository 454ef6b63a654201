//! What gaps and notes say, in one sentence each.

use super::escape::{Style, escape};
use fsmon_format::kind;
use fsmon_format::record::{Cause, NoteRef, What};

/// Why nothing was recorded, as the end of a sentence.
pub fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Unknown => "the cause is not known",
        Cause::Stopped => "the recorder was stopped",
        Cause::Killed => "the recorder was killed",
        Cause::Reboot => "the host was rebooted",
        Cause::Disk => "the disk was full or could not be written to",
        Cause::Other(_) => "the cause is one that this version does not know",
    }
}

/// The sentence of a note. Path and text are escaped for the format.
pub fn append_sentence<S: Style>(note: &NoteRef<'_>, out: &mut Vec<u8>) {
    let mut say = |text: &str| out.extend_from_slice(text.as_bytes());
    match note.what() {
        What::WatchBegan => say("watching "),
        What::WatchEnded => say("no longer watching "),
        What::WatchPending => say("waiting for "),
        What::WatchFailed => say("cannot watch "),
        What::SegmentDeleted => say("deleted "),
        What::Other(_) if note.path.is_empty() && note.text.is_empty() => {
            return say("something that this version does not know");
        }
        What::Other(_) => {}
    }
    escape::<S>(note.path, out);
    match note.what() {
        What::WatchBegan => append_extent(note, out),
        What::WatchPending => {
            out.extend_from_slice(b" to appear");
            append_extent(note, out);
        }
        What::SegmentDeleted => out.extend_from_slice(b" before it reached its age"),
        What::WatchEnded | What::WatchFailed | What::Other(_) => {}
    }
    if !note.text.is_empty() {
        if !note.path.is_empty() {
            out.extend_from_slice(b": ");
        }
        escape::<S>(note.text, out);
    }
}

/// The types of a watch, and whether it is of everything below.
fn append_extent(note: &NoteRef<'_>, out: &mut Vec<u8>) {
    for (index, name) in types(note).enumerate() {
        out.extend_from_slice(if index == 0 { b" (" } else { b", " });
        out.extend_from_slice(name.as_bytes());
    }
    if types(note).next().is_some() {
        out.push(b')');
    }
    if note.is_recursive() {
        out.extend_from_slice(b", with everything below it");
    }
}

/// The names of the event types that are recorded for a watch.
pub fn types(note: &NoteRef<'_>) -> impl Iterator<Item = &'static str> + use<> {
    kind::in_causal_order(note.head.types.get()).map(|kind| kind.name)
}
