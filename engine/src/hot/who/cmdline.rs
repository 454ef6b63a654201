//! Command lines, where no source told them with the exec (`args`) but they can still be read: from
//! /proc/PID/cmdline, and so after the fact.
//!
//! They are read at the two moments when that is likeliest to succeed: when an exec is heard of,
//! for what lives on until its first event but not longer, and when an image is first handed on.
//!
//! What is read may be a later image's, or another process's that has got the number by now. So
//! it counts only if, after the read, no source has told of an exec or an end of the process. That
//! is airtight with perf: the kernel writes the name given by exec into the ring before the new
//! arguments can be seen (begin_new_exec() in fs/exec.c, then create_elf_tables() in
//! fs/binfmt_elf.c), and an exit before its number is free. So do our BPF programs. The lower rungs hear of an exec later
//! than /proc shows it, so they have no command lines.
//!
//! Between two images that differ in nothing else an event may have been placed wrongly without
//! harm, a shell that execs a shell. Not so with a command line: then none is told
//! ([`Image::withhold_cmdline`]).
//!
//! A process that was not seen to exec has the command line of the image that it came from. So of
//! one that is gone by now it can be known all the same.
//!
//! Texts are kept here only until they are sent. A string that was sent belongs to a slot, and
//! the slot to an image until that image is freed; then another image's text replaces it at the
//! consumer's.

use super::args::{self, Args};
use super::images::{Image, birth, cmdline};
use super::pids::IN_EXEC;
use super::{Processes, Rung};
use crate::hot::containers::last::LastN;
use crate::limits::who::{
    CMDLINE_IMAGES_BACK, CMDLINE_PROBES, CMDLINE_READ_BYTES, CMDLINE_READS, EXECS_KEPT,
};
use crate::limits::{CMDLINE_BYTES, CMDLINES_MAX, STRINGS_MAX};
use crate::num::{const_u32, limited_u32};
use crate::sys::procdir::{self, Path};
use arrayvec::ArrayVec;
use fsmon_format::record::proc_flag;
use std::hash::{DefaultHasher, Hasher};

/// What a definition says of the command line. All zero where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CmdlineRef {
    /// Id of the string.
    pub(crate) string: u32,
    /// [`proc_flag`]: CMDLINE_READ and CMDLINE_CUT.
    pub(crate) flags: u16,
    /// Where the string was not sent yet, whose text it is, for [`Processes::cmdline_text`]; else 0.
    pub(crate) text_of: u32,
}

/// Where a command line belongs, by the slot's number, which is the string's too.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    image: u32,
    serial: u32,
    /// Of the text: tells a process's own from that of the image it came from.
    hash: u64,
    flags: u16,
}

/// A text that was read, in the room at its number.
#[derive(Clone, Copy, Debug, Default)]
struct ReadText {
    image: u32,
    serial: u32,
    len: usize,
    /// Whether all was heard that was told by the end of the read, and the image was in force.
    is_sure: bool,
}

/// What was read, and where that which was sent belongs.
#[derive(Default)]
pub(super) struct Cmdlines {
    /// Empty where none are asked for. No `SetCache`: homes overlap, so that images with neighbouring ids share room; and
    /// no `ProbeTable`, as a slot that was sent stays an image's until that is freed.
    slots: Vec<Slot>,
    reads: Vec<ReadText>,
    texts: Vec<u8>,
    /// Those of which it is not yet known whether they count.
    unsure: ArrayVec<usize, { EXECS_KEPT + 1 }>,
    /// Processes that were heard to exec.
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

    /// An exec was heard of.
    #[inline]
    pub(super) fn note_exec(&mut self, pid: u32) {
        if self.is_on() {
            self.execs.push(pid);
        }
    }

    /// Image ids are dense and the latest freed is used first, so this touches few slots.
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
        CmdlineRef {
            string: first_string() + limited_u32(at),
            flags: self.slots[at].flags,
            text_of: 0,
        }
    }

    /// What was read for an image, if it counts.
    fn read_of(&self, id: u32, image: &Image) -> Option<&ReadText> {
        let read = &self.reads[id as usize % CMDLINE_READS];
        (read.image == id && read.serial == image.serial && read.is_sure).then_some(read)
    }

    /// Takes what /proc gives for an image; whether that is anything.
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
    const_u32::<STRINGS_MAX>() + 1
}

/// The words without the NUL after the last, and the flags for it.
fn trim(text: &[u8]) -> (&[u8], u16) {
    let whole = match text.split_last() {
        // What ends in the last byte of the buffer may go on.
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
    /// Whether a source tells of an exec before /proc can show what came of it.
    pub(crate) fn can_read_cmdlines(&self) -> bool {
        match self.table.rung {
            Rung::Bpf => {
                self.sources.counted().is_some_and(|counted| counted.exec_details().exec_begins)
            }
            Rung::Tracepoint | Rung::Comm => true,
            Rung::Connector | Rung::Proc => false,
        }
    }

    /// Whether a source tells command lines with each exec.
    pub(crate) fn are_cmdlines_in_messages(&self) -> bool {
        self.sources.counted().is_some_and(|counted| counted.exec_details().args)
    }

    /// Whether command lines are wanted, and no source tells them.
    pub(crate) fn must_read_cmdlines(&self) -> bool {
        self.cmdlines.is_on() && !self.are_cmdlines_in_messages()
    }

    /// From now on command lines are told, and read where that can be done rightly.
    pub(crate) fn read_cmdlines(&mut self) {
        if self.are_cmdlines_in_messages() {
            self.table.args = Args::new();
        }
        if self.can_read_cmdlines() {
            self.cmdlines = Cmdlines::new();
        }
    }

    /// Reads the command lines of processes that were heard to exec. Where this is true, all
    /// messages that have come by then are to be taken in, and [`Processes::confirm_cmdlines`] called.
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

    /// All was heard that was told by the end of the reads: those count whose images are in force.
    pub(crate) fn confirm_cmdlines(&mut self) {
        // Where messages were lost, an exec may be among them.
        let all_told = self.loss.is_none();
        for at in std::mem::take(&mut self.cmdlines.unsure) {
            let ReadText { image, serial, .. } = self.cmdlines.reads[at];
            let there = self.table.images.get_if(image, serial).is_some();
            self.cmdlines.reads[at].is_sure = all_told && there && self.is_in_force(image);
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

    /// The text that was told or read for an image.
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
        // No room: it is one that could not be read.
        let Some(at) = self.slot_for(id) else { return CmdlineRef::default() };
        let serial = self.table.images.get(id).serial;
        self.cmdlines.slots[at] = Slot { image: id, serial, hash, flags };
        CmdlineRef { text_of, ..self.cmdlines.line(at) }
    }

    /// A slot whose image is gone, or that never had one.
    fn slot_for(&self, id: u32) -> Option<usize> {
        self.cmdlines.slots_of(id).find(|&at| {
            let slot = self.cmdlines.slots[at];
            self.table.images.get_if(slot.image, slot.serial).is_none()
        })
    }

    /// Where the command line of an image is to be had: the image for which it was read, this one
    /// or one that it came from, 0 for none; and the slot of one that was sent before. Each image on
    /// the way holds the one before it, so the slot is not given to another while this one is there.
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

    /// Whether, by all that was told so far, the process of an image runs what it ran then.
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
