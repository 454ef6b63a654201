//! Command lines that no source sent with the exec (`args`), read from /proc/PID/cmdline after the fact.
//!
//! fsmon reads them at two moments: when an exec is reported, for processes that may be gone at their first event;
//! and when an image is first defined.
//!
//! The text may already be of a later image, or of another process that got the pid. So it counts only if, after
//! the read, no source has reported an exec or an exit of the process. With perf this is airtight: the kernel
//! writes the name given to exec into the ring before the new arguments are visible (begin_new_exec() in fs/exec.c,
//! then create_elf_tables() in fs/binfmt_elf.c), and an exit before the pid is free. So do the BPF programs. The
//! lower rungs report an exec later than /proc shows it, so they have no command lines.
//!
//! An event may be attributed to the wrong one of two equal images without harm, as when a shell execs a shell.
//! Their command lines may differ, so then none is reported ([`Image::withhold_cmdline`]).
//!
//! A process that has not called exec has the command line of the image that it was forked from, so it may be known
//! even if the process is gone.
//!
//! Texts are kept here until they are sent. A string that was sent belongs to a slot, and the slot to an image
//! until that image is freed. Then the text of another image replaces it, here and at the consumer.

use super::args::{self, Args};
use super::images::{Image, birth, cmdline};
use super::pids::IN_EXEC;
use super::{Processes, Rung};
use crate::hot::containers::last::LastN;
use crate::limits::who::{
    CMDLINE_IMAGES_BACK, CMDLINE_PROBES, CMDLINE_READ_BYTES, CMDLINE_READS, EXECS_KEPT,
};
use crate::limits::{CMDLINE_BYTES, CMDLINES_MAX, STRINGS_MAX};
use crate::sys::procdir::{self, Path};
use arrayvec::ArrayVec;
use fsmon_format::number::to_u32;
use fsmon_format::record::proc_flag;
use std::hash::{DefaultHasher, Hasher};

/// What a definition says of the command line. All zero if it is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CmdlineRef {
    /// Id of the string.
    pub(crate) string: u32,
    /// [`proc_flag`]: CMDLINE_READ and CMDLINE_CUT.
    pub(crate) flags: u16,
    /// The image whose text has to be sent first ([`Processes::cmdline_text`]); 0 if the string was already sent.
    pub(crate) text_of: u32,
}

/// The image that owns a command line that was sent. The index of the slot gives the id of the string.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    image: u32,
    serial: u32,
    /// Hash of the text: shows whether a text is the process's own or the inherited one.
    hash: u64,
    flags: u16,
}

/// A text that was read; its bytes are at the same index in `texts`.
#[derive(Clone, Copy, Debug, Default)]
struct ReadText {
    image: u32,
    serial: u32,
    len: usize,
    /// Whether the image was still in force after all messages from before the end of the read.
    is_sure: bool,
}

/// The texts that were read, and the slots of those that were sent.
#[derive(Default)]
pub(super) struct Cmdlines {
    /// Empty if command lines were not requested. Not a `SetCache`: homes overlap, so that images with neighbouring
    /// ids share room. Not a `ProbeTable`: a slot whose string was sent belongs to an image until that is freed.
    slots: Vec<Slot>,
    reads: Vec<ReadText>,
    texts: Vec<u8>,
    /// Indices of texts that are not confirmed yet.
    unsure: ArrayVec<usize, { EXECS_KEPT + 1 }>,
    /// Processes that have called exec.
    execs: LastN<u32>,
}

impl Cmdlines {
    fn new() -> Self {
        Cmdlines {
            slots: vec![Slot::default(); CMDLINES_MAX],
            reads: vec![ReadText::default(); CMDLINE_READS],
            texts: vec![0; CMDLINE_READS * CMDLINE_READ_BYTES],
            execs: LastN::new(EXECS_KEPT),
            ..Cmdlines::default()
        }
    }

    #[inline]
    fn is_on(&self) -> bool {
        !self.slots.is_empty()
    }

    /// A source reported an exec.
    #[inline]
    pub(super) fn note_exec(&mut self, pid: u32) {
        if self.is_on() {
            self.execs.push(pid);
        }
    }

    /// Ids of images are dense, and the one freed last is used first, so few slots are touched.
    fn slots_of(&self, id: u32) -> impl Iterator<Item = usize> + use<> {
        (0..CMDLINE_PROBES).map(move |step| (id as usize + step) % CMDLINES_MAX)
    }

    /// The slot of an image, if it has one.
    fn find(&self, id: u32, image: &Image) -> Option<usize> {
        self.slots_of(id).find(|&at| {
            let slot = &self.slots[at];
            slot.image == id && slot.serial == image.serial
        })
    }

    fn line(&self, at: usize) -> CmdlineRef {
        CmdlineRef { string: first_string() + to_u32(at), flags: self.slots[at].flags, text_of: 0 }
    }

    /// The text that was read for an image, if it is confirmed.
    fn read_of(&self, id: u32, image: &Image) -> Option<&ReadText> {
        let read = &self.reads[id as usize % CMDLINE_READS];
        (read.image == id && read.serial == image.serial && read.is_sure).then_some(read)
    }

    /// Reads the text of an image from /proc; true if there is one that must be confirmed.
    fn read(&mut self, id: u32, image: &Image) -> bool {
        let at = id as usize % CMDLINE_READS;
        let room = &mut self.texts[at * CMDLINE_READ_BYTES..(at + 1) * CMDLINE_READ_BYTES];
        let text = procdir::read(&Path::of_process(image.pid, "cmdline"), room);
        let len = text.map_or(0, <[u8]>::len);
        self.reads[at] = ReadText { image: id, serial: image.serial, len, is_sure: false };
        len > 0 && self.unsure.try_push(at).is_ok()
    }

    fn text(&self, id: u32) -> (&[u8], u16) {
        let at = id as usize % CMDLINE_READS;
        trim(&self.texts[at * CMDLINE_READ_BYTES..][..self.reads[at].len])
    }
}

fn first_string() -> u32 {
    const { to_u32(STRINGS_MAX) + 1 }
}

/// The text without the last NUL, and the flags for it.
fn trim(text: &[u8]) -> (&[u8], u16) {
    let whole = match text.split_last() {
        // A text that fills the buffer may be longer.
        Some((0, words)) if text.len() < CMDLINE_READ_BYTES => words,
        _ => text,
    };
    match whole.get(..CMDLINE_BYTES) {
        Some(cut) if whole.len() > CMDLINE_BYTES => {
            (cut, proc_flag::CMDLINE_READ | proc_flag::CMDLINE_CUT)
        }
        _ => (whole, proc_flag::CMDLINE_READ),
    }
}

fn hash(text: &[u8], flags: u16) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.write_u16(flags);
    hasher.finish()
}

impl Processes {
    /// Whether a source reports an exec before /proc shows its results.
    pub(crate) fn can_read_cmdlines(&self) -> bool {
        match self.table.rung {
            Rung::Bpf => {
                self.sources.counted().is_some_and(|counted| counted.exec_details().exec_begins)
            }
            Rung::Tracepoint | Rung::Comm => true,
            Rung::Connector | Rung::Proc => false,
        }
    }

    /// Whether messages of execs carry the command lines.
    pub(crate) fn are_cmdlines_in_messages(&self) -> bool {
        self.sources.counted().is_some_and(|counted| counted.exec_details().args)
    }

    /// Whether command lines were requested, and no message carries them.
    pub(crate) fn must_read_cmdlines(&self) -> bool {
        self.cmdlines.is_on() && !self.are_cmdlines_in_messages()
    }

    /// Turns command lines on: from messages, or from /proc where the rung allows it.
    pub(crate) fn read_cmdlines(&mut self) {
        if self.are_cmdlines_in_messages() {
            self.table.args = Args::new();
        }
        if self.can_read_cmdlines() {
            self.cmdlines = Cmdlines::new();
        }
    }

    /// Reads the command lines of processes that have called exec. If this returns true, the caller must take in
    /// all messages that have come and then call [`Processes::confirm_cmdlines`].
    #[inline]
    pub(crate) fn read_cmdlines_ahead(&mut self) -> bool {
        !self.cmdlines.execs.is_empty() && self.read_execs()
    }

    #[cold]
    fn read_execs(&mut self) -> bool {
        let mut execs = std::mem::take(&mut self.cmdlines.execs);
        for &pid in execs.iter() {
            let mut id = self.table.pids.get(pid).map_or(0, |entry| entry.image);
            while self.table.images.get(id).birth == birth::CHANGE {
                id = self.table.images.get(id).prev;
            }
            if id != 0 {
                self.read_now(id);
            }
        }
        execs.clear();
        self.cmdlines.execs = execs;
        !self.cmdlines.unsure.is_empty()
    }

    /// The same for an image that is about to be defined.
    #[inline]
    pub(crate) fn read_cmdline(&mut self, id: u32) -> bool {
        self.cmdlines.is_on()
            && !args::has_text(self.table.images.get(id).args)
            && self.read_now(id)
    }

    #[cold]
    fn read_now(&mut self, id: u32) -> bool {
        let image = self.table.images.get(id);
        let cmdlines = &self.cmdlines;
        let known = cmdlines.find(id, image).is_some() || cmdlines.read_of(id, image).is_some();
        !known && self.is_in_force(id) && self.cmdlines.read(id, image)
    }

    /// Call it after all messages from before the end of the reads were applied: a text counts if its image is in
    /// force.
    pub(crate) fn confirm_cmdlines(&mut self) {
        // Lost messages may include an exec.
        let is_complete = self.loss.is_none();
        for at in std::mem::take(&mut self.cmdlines.unsure) {
            let ReadText { image, serial, .. } = self.cmdlines.reads[at];
            let there = self.table.images.get_if(image, serial).is_some();
            self.cmdlines.reads[at].is_sure = is_complete && there && self.is_in_force(image);
        }
    }

    /// The command line of an image, as far as it is known.
    #[inline]
    pub(crate) fn cmdline(&mut self, id: u32) -> CmdlineRef {
        let args = self.table.images.get(id).args;
        if args::has_text(args) {
            return self.table.args.describe(args, id);
        }
        if self.cmdlines.is_on() { self.cmdline_to_report(id) } else { CmdlineRef::default() }
    }

    /// The text of an image, from a message or from /proc.
    pub(crate) fn cmdline_text(&self, id: u32) -> &[u8] {
        let args = self.table.images.get(id).args;
        if args::has_text(args) { self.table.args.text(args) } else { self.cmdlines.text(id).0 }
    }

    #[cold]
    fn cmdline_to_report(&mut self, id: u32) -> CmdlineRef {
        if self.table.images.get(id).cmdline == cmdline::WITHHELD {
            return CmdlineRef::default();
        }
        let line = self.cmdline_known(id);
        if line.string != 0 {
            self.table.images.get_mut(id).cmdline = cmdline::REPORTED;
        }
        line
    }

    fn cmdline_known(&mut self, id: u32) -> CmdlineRef {
        if let Some(at) = self.cmdlines.find(id, self.table.images.get(id)) {
            return self.cmdlines.line(at);
        }
        let (text_of, slot) = self.came_with(id);
        let inherited = slot.map_or(CmdlineRef::default(), |at| self.cmdlines.line(at));
        if text_of == 0 {
            return inherited;
        }
        let (text, flags) = self.cmdlines.text(text_of);
        if text.is_empty() {
            return CmdlineRef::default();
        }
        let hash = hash(text, flags);
        if slot.is_some_and(|at| self.cmdlines.slots[at].hash == hash) {
            return inherited;
        }
        // Without a free slot it is reported as unknown.
        let Some(at) = self.slot_for(id) else { return CmdlineRef::default() };
        let serial = self.table.images.get(id).serial;
        self.cmdlines.slots[at] = Slot { image: id, serial, hash, flags };
        CmdlineRef { text_of, ..self.cmdlines.line(at) }
    }

    /// A slot that belongs to no living image.
    fn slot_for(&self, id: u32) -> Option<usize> {
        self.cmdlines.slots_of(id).find(|&at| {
            let slot = self.cmdlines.slots[at];
            self.table.images.get_if(slot.image, slot.serial).is_none()
        })
    }

    /// Where the command line of an image comes from: the image that it was read for, which is this one or an
    /// ancestor, or 0; and the slot of a text that was sent before. Each image on the way keeps the one before it
    /// alive, so the slot stays its own while this image exists.
    fn came_with(&self, id: u32) -> (u32, Option<usize>) {
        let (mut at, mut text_of) = (id, 0);
        for _ in 0..CMDLINE_IMAGES_BACK {
            let image = self.table.images.get(at);
            let slot = self.cmdlines.find(at, image);
            if slot.is_some() {
                return (text_of, slot);
            }
            if text_of == 0 && self.cmdlines.read_of(at, image).is_some() {
                text_of = at;
            }
            at = match image.birth {
                birth::CHANGE => image.prev,
                birth::FORK if image.adopted == 0 => image.parent,
                _ => 0,
            };
            if at == 0 {
                break;
            }
        }
        (text_of, None)
    }

    /// Whether, by all messages so far, the process of an image still runs the same program.
    fn is_in_force(&self, id: u32) -> bool {
        let image = self.table.images.get(id);
        let Some(entry) = self.table.pids.get(image.pid) else { return false };
        if entry.exit_ns != 0 || entry.is(IN_EXEC) {
            return false;
        }
        let mut at = entry.image;
        while at != id {
            let later = self.table.images.get(at);
            if at == 0 || later.birth != birth::CHANGE {
                return false;
            }
            at = later.prev;
        }
        true
    }
}

#[cfg(test)]
#[path = "cmdline_test.rs"]
mod tests;
