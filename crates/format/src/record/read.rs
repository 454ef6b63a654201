//! Records as their tags say, borrowed from slots; no length in them is trusted.

use super::{
    Answer, Attribution, Clock, DIR_HEAD, Dir, EVENT_HEAD, End, Event, Gap, Loss, NOTE_HEAD,
    NOTE_TEXT_MAX, Note, Proc, STR_HEAD, Slot, Stats, Str, What, event_flag, note_flag, tag,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One record, borrowed from a ring or a block. Its slot count was checked against the buffer.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    slots: &'a [Slot],
}

/// A record taken for what its tag says.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// A change.
    Event(EventRef<'a>),
    /// A directory's definition and its name.
    Dir(&'a Dir, &'a [u8]),
    /// A process image's definition.
    Proc(&'a Proc),
    /// A string's definition and its bytes.
    Str(&'a Str, &'a [u8]),
    /// A loss.
    Loss(&'a Loss),
    /// Counters.
    Stats(&'a Stats),
    /// The end.
    End(&'a End),
    /// Clocks.
    Clock(&'a Clock),
    /// A time for which nothing was recorded.
    Gap(&'a Gap),
    /// What is watched, or what the recorder did.
    Note(NoteRef<'a>),
    /// The answer to a command. Only the ring has any: in a stream it is to be skipped.
    Answer(&'a Answer),
    /// Filler, or a kind that this version does not know: to be skipped.
    Skip,
    /// Lengths that do not fit the record: a broken writer.
    Malformed,
}

/// A change and its names.
#[derive(Clone, Copy)]
pub struct EventRef<'a> {
    /// The fixed part.
    pub head: &'a Event,
    /// The entry's name in `head.dir`; empty for the directory itself.
    pub name: &'a [u8],
    /// RENAME: the old name in `head.dir2`. VIA: the other name.
    pub name2: &'a [u8],
}

impl EventRef<'_> {
    /// How certain the process is.
    #[must_use]
    pub fn attribution(&self) -> Attribution {
        match self.head.flags.get() & event_flag::ATTRIBUTION {
            0 => Attribution::Exact,
            1 => Attribution::Ambiguous,
            2 => Attribution::Late,
            _ => Attribution::Unknown,
        }
    }

    /// Whether the entry was found by a walk; its creation was not seen.
    #[must_use]
    pub fn found(&self) -> bool {
        self.head.flags.get() & event_flag::FOUND != 0
    }

    /// Whether it is part of an exchange of two names.
    #[must_use]
    pub fn exchange(&self) -> bool {
        self.head.flags.get() & event_flag::EXCHANGE != 0
    }

    /// Whether earlier lines are about this file when it had no name; `object` joins them.
    #[must_use]
    pub fn named(&self) -> bool {
        self.head.flags.get() & event_flag::NAMED != 0
    }

    /// Whether the file was changed through another name, which is not watched.
    #[must_use]
    pub fn is_via(&self) -> bool {
        self.head.flags.get() & event_flag::VIA != 0
    }

    /// Whether a directory in the path may have been elsewhere at that moment.
    #[must_use]
    pub fn unsure(&self) -> bool {
        self.head.flags.get() & event_flag::UNSURE != 0
    }

    /// `object` of an event of type FS_ERROR: the errno that the filesystem reported, and how often it did.
    #[must_use]
    pub fn errno_and_count(&self) -> (u32, u32) {
        let object = self.head.object.get();
        ((object & 0xffff_ffff) as u32, (object >> 32) as u32)
    }

    /// Whether the object is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.head.mask.get() & crate::kind::ONDIR != 0
    }
}

/// A note, its path and its text.
#[derive(Clone, Copy)]
pub struct NoteRef<'a> {
    /// The fixed part.
    pub head: &'a Note,
    /// The path of a watch, or the name of a deleted segment's file; empty if there is none.
    pub path: &'a [u8],
    /// Free text for people; empty if there is none.
    pub text: &'a [u8],
}

impl NoteRef<'_> {
    /// What the note says.
    #[must_use]
    pub fn what(&self) -> What {
        What::from_code(self.head.what.get())
    }

    /// Whether the watch includes everything below its path.
    #[must_use]
    pub fn is_recursive(&self) -> bool {
        self.head.flags.get() & note_flag::RECURSIVE != 0
    }
}

impl<'a> Record<'a> {
    /// The first record of `slots`, and the rest. `None` if `slots` has no whole record.
    #[inline]
    #[must_use]
    pub fn split_first(slots: &'a [Slot]) -> Option<(Self, &'a [Slot])> {
        let count = usize::from(slots.first()?.0[1]).max(1);
        let (this, rest) = slots.split_at_checked(count)?;
        Some((Record { slots: this }, rest))
    }

    /// [`tag`]
    #[inline]
    #[must_use]
    pub fn tag(&self) -> u8 {
        self.slots[0].0[0]
    }

    /// All slots of the record.
    #[must_use]
    pub fn slots(&self) -> &'a [Slot] {
        self.slots
    }

    fn bytes(&self) -> &'a [u8] {
        self.slots.as_bytes()
    }

    fn head<T: FromBytes + KnownLayout + Immutable + Unaligned>(&self) -> Option<&'a T> {
        T::ref_from_prefix(self.bytes()).ok().map(|(head, _)| head)
    }

    fn text(&self, head: usize, len: u16) -> Option<&'a [u8]> {
        self.bytes().get(head..head + usize::from(len))
    }

    /// Rare, so that it stays out of the way of events.
    #[cold]
    fn note(&self) -> Option<NoteRef<'a>> {
        let head: &Note = self.head()?;
        let (path_len, text_len) = (head.path_len.get(), head.text_len.get());
        if usize::from(path_len) + usize::from(text_len) > NOTE_TEXT_MAX {
            return None;
        }
        let tail = self.bytes().get(NOTE_HEAD..)?;
        let (path, rest) = tail.split_at_checked(usize::from(path_len))?;
        Some(NoteRef { head, path, text: rest.get(..usize::from(text_len))? })
    }

    /// The record as what its tag says it is.
    #[inline]
    #[must_use]
    pub fn body(&self) -> Body<'a> {
        self.checked_body().unwrap_or(Body::Malformed)
    }

    #[inline]
    fn checked_body(&self) -> Option<Body<'a>> {
        Some(match self.tag() {
            tag::EVENT => {
                let head: &Event = self.head()?;
                let (len, len2) = (head.name_len.get(), head.name2_len.get());
                let names = self.bytes().get(EVENT_HEAD..)?;
                let (name, rest) = names.split_at_checked(usize::from(len))?;
                Body::Event(EventRef { head, name, name2: rest.get(..usize::from(len2))? })
            }
            tag::DIR => {
                let head: &Dir = self.head()?;
                Body::Dir(head, self.text(DIR_HEAD, head.name_len.get())?)
            }
            tag::STR => {
                let head: &Str = self.head()?;
                Body::Str(head, self.text(STR_HEAD, head.len.get())?)
            }
            tag::PROC => Body::Proc(self.head()?),
            tag::LOSS => Body::Loss(self.head()?),
            tag::STATS => Body::Stats(self.head()?),
            tag::END => Body::End(self.head()?),
            tag::CLOCK => Body::Clock(self.head()?),
            tag::GAP => Body::Gap(self.head()?),
            tag::NOTE => Body::Note(self.note()?),
            tag::ANSWER => Body::Answer(self.head()?),
            _ => Body::Skip,
        })
    }
}

/// Iterates over the records in some slots. Ends early if the last record is cut short.
#[derive(Clone, Copy)]
pub struct Records<'a>(pub &'a [Slot]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let (record, rest) = Record::split_first(self.0)?;
        self.0 = rest;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Build, EVENT_HEAD, NAME_MAX, SLOT, event_slots, lay_event};
    use super::*;
    use zerocopy::{FromZeros, IntoBytes};

    #[test]
    fn names_of_every_length_come_back() {
        let mut build = Build::default();
        for len in 0..=NAME_MAX {
            let (name, name2) = (vec![b'a'; len], vec![b'b'; NAME_MAX - len]);
            let slots = build.event(Event::new_zeroed(), &name, &name2);
            let (record, rest) = Record::split_first(slots).expect("one record");
            assert!(rest.is_empty());
            let Body::Event(event) = record.body() else { panic!("an event") };
            assert_eq!((event.name, event.name2), (&name[..], &name2[..]));
        }
    }

    #[test]
    fn nothing_shines_through_of_what_was_in_the_room_before() {
        for len in 0..=NAME_MAX {
            let (name, name2) = (vec![b'a'; len], vec![b'b'; (len * 7) % 100]);
            let mut room = vec![Slot([0xff; SLOT]); event_slots(&name, &name2)];
            lay_event(&mut room, Event::new_zeroed(), &name, &name2);
            let mut build = Build::default();
            let fresh = build.event(Event::new_zeroed(), &name, &name2);
            assert_eq!(room.as_bytes(), fresh.as_bytes());
            let text_end = EVENT_HEAD + name.len() + name2.len();
            assert!(room.as_bytes()[text_end..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_length_beyond_the_record_is_malformed() {
        let mut build = Build::default();
        let mut slots = build.str(1, b"gcc").to_vec();
        slots[0].0[8] = 53;
        let (record, _) = Record::split_first(&slots).expect("one record");
        assert!(matches!(record.body(), Body::Malformed));
    }

    #[test]
    fn notes_of_every_length_come_back_and_longer_ones_are_cut() {
        let mut build = Build::default();
        for (path_len, text_len) in (0..200).map(|len| (len, 199 - len)).chain([
            (NOTE_TEXT_MAX, 0),
            (0, NOTE_TEXT_MAX),
            (NOTE_TEXT_MAX - 5, 9),
            (9000, 9000),
        ]) {
            let (path, text) = (vec![b'p'; path_len], vec![b't'; text_len]);
            let slots = build.note(Note::new_zeroed(), &path, &text);
            let (record, rest) = Record::split_first(slots).expect("one record");
            assert!(rest.is_empty());
            let Body::Note(note) = record.body() else { panic!("a note") };
            let path_kept = path_len.min(NOTE_TEXT_MAX);
            assert_eq!(note.path, &path[..path_kept]);
            assert_eq!(note.text, &text[..text_len.min(NOTE_TEXT_MAX - path_kept)]);
            let end = NOTE_HEAD + note.path.len() + note.text.len();
            assert!(slots.as_bytes()[end..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_note_longer_than_its_record_or_than_allowed_is_malformed() {
        let mut build = Build::default();
        let short = build.note(Note::new_zeroed(), b"/srv", b"why").to_vec();
        let long = build.note(Note::new_zeroed(), &[b'p'; NOTE_TEXT_MAX], b"").to_vec();
        let is_malformed = |slots: &[Slot], path_len: u16, text_len: u16| {
            let mut slots = slots.to_vec();
            slots[0].0[20..22].copy_from_slice(&path_len.to_le_bytes());
            slots[0].0[22..24].copy_from_slice(&text_len.to_le_bytes());
            let (record, _) = Record::split_first(&slots).expect("one record");
            matches!(record.body(), Body::Malformed)
        };
        assert!(!is_malformed(&short, 40, 0) && !is_malformed(&short, 0, 40));
        assert!(is_malformed(&short, 41, 0) && is_malformed(&short, 0, 41));
        assert!(is_malformed(&short, 20, 21) && is_malformed(&short, u16::MAX, u16::MAX));
        // The record has room for more.
        assert!(!is_malformed(&long, 4000, 96) && is_malformed(&long, 4000, 97));
    }

    #[test]
    fn a_record_cut_short_ends_the_walk() {
        let mut build = Build::default();
        let slots = build.str(1, &[b'x'; 200]).to_vec();
        assert_eq!(Records(&slots).count(), 1);
        assert_eq!(Records(&slots[..2]).count(), 0);
    }

    #[test]
    fn a_shorter_record_keeps_nothing_of_the_longer_before_it() {
        let mut build = Build::default();
        build.str(1, &[b'x'; 52]);
        let slots = build.str(2, b"y");
        assert_eq!(slots[0].0[13..], [0; 51]);
    }
}
