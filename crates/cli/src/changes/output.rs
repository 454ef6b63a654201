//! How lines are printed.

use crate::args::client::Shape;
use crate::limits::BUFFER_BYTES;
use fsmon_format::mirror::Mirror;
use fsmon_format::stream::BLOCK_CAPACITY;
use fsmon_present::text::change::{ChangeHuman, ChangeJson, ChangeLine};
use fsmon_store::changes::{Change, Line, Processes};

enum Style {
    Human(ChangeHuman),
    Json(ChangeJson),
    /// Paths alone, with zero bytes.
    Paths,
}

/// Turns lines into bytes.
pub(super) struct Output {
    style: Style,
    mirror: Mirror,
    pub(super) buffer: Vec<u8>,
    /// Nobody reads it any more.
    pub(super) is_closed: bool,
}

impl Output {
    fn new(style: Style) -> Self {
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Output { style, mirror: Mirror::new(BLOCK_CAPACITY), buffer, is_closed: false }
    }

    pub(super) fn paths() -> Self {
        Output::new(Style::Paths)
    }

    pub(super) fn lines(shape: Shape, colours: bool) -> Self {
        Output::new(match shape {
            Shape::Human => Style::Human(ChangeHuman::new(colours)),
            Shape::Json => Style::Json(ChangeJson::default()),
        })
    }

    pub(super) fn is_paths(&self) -> bool {
        matches!(self.style, Style::Paths)
    }

    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= BUFFER_BYTES / 2
    }

    pub(super) fn append(&mut self, processes: Processes<'_>, line: &Line<'_>) {
        let Output { style, mirror, buffer, .. } = self;
        if let Style::Paths = style {
            return append_paths(line, buffer);
        }
        let change = ChangeLine {
            letter: letter(line.change),
            path: line.path,
            old_path: line.old_path,
            is_dir: line.is_dir,
            events: line.events,
            is_unsure: line.is_unsure,
            is_temporary: line.is_temporary,
            time_ns: line.time_ns,
            process: processes.define(line.who, mirror),
        };
        match style {
            Style::Human(human) => human.append(mirror, &change, buffer),
            Style::Json(json) => json.append(mirror, &change, buffer),
            Style::Paths => unreachable!("handled above"),
        }
    }
}

/// Appends the path, and before it the old one if nothing is there: else it has a line of its own.
fn append_paths(line: &Line<'_>, out: &mut Vec<u8>) {
    let old = line.old_path.filter(|_| line.is_old_free);
    for path in old.into_iter().chain([line.path]) {
        out.extend_from_slice(path);
        out.push(0);
    }
}

fn letter(change: Change) -> char {
    match change {
        Change::Added => 'A',
        Change::Modified => 'M',
        Change::Deleted => 'D',
        Change::Renamed => 'R',
        Change::Attributes => 'T',
    }
}
