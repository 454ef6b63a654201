//! Laying out records.

use super::{
    Answer, Clock, DIR_HEAD, Dir, EVENT_HEAD, End, Event, Gap, Loss, NAME_MAX, NOTE_HEAD,
    NOTE_TEXT_MAX, Note, Proc, SLOT, STR_HEAD, Slot, Stats, Str, TEXT_MAX, TEXT_SLOTS_MAX,
    slots_for, tag,
};
use zerocopy::little_endian::U16;
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// A record being put together in place: room for the longest, no allocation.
pub struct Build {
    slots: [Slot; TEXT_SLOTS_MAX],
}

impl Default for Build {
    fn default() -> Self {
        Build { slots: [Slot::ZERO; TEXT_SLOTS_MAX] }
    }
}

impl Build {
    /// Lays out `head` and then `parts` from byte `at` on, and sets the slot count.
    /// What does not fit into the longest record is cut off.
    fn lay<T: IntoBytes + Immutable>(&mut self, head: &T, at: usize, parts: &[&[u8]]) -> &[Slot] {
        let bytes = self.slots.as_mut_bytes();
        let head = head.as_bytes();
        bytes[..head.len()].copy_from_slice(head);
        let mut end = at;
        for part in parts {
            let len = part.len().min(bytes.len() - end);
            bytes[end..end + len].copy_from_slice(&part[..len]);
            end += len;
        }
        let count = slots_for(end.max(head.len()));
        if end > head.len() {
            bytes[end..count * SLOT].fill(0);
        }
        bytes[1] = u8::try_from(count).expect("TEXT_SLOTS_MAX fits a byte");
        &self.slots[..count]
    }

    /// An event; the lengths and the tail are set here, names longer than [`NAME_MAX`] are cut.
    pub fn event(&mut self, head: Event, name: &[u8], name2: &[u8]) -> &[Slot] {
        let room = &mut self.slots[..event_slots(name, name2)];
        lay_event(room, head, name, name2);
        room
    }

    /// A directory; the length and the tail are set here, a name beyond [`TEXT_MAX`] is cut.
    pub fn dir(&mut self, mut head: Dir, name: &[u8]) -> &[Slot] {
        let name = &name[..name.len().min(TEXT_MAX)];
        head.tag = tag::DIR;
        head.name_len = len16(name);
        head.tail = [0; 32];
        self.lay(&head, DIR_HEAD, &[name])
    }

    /// A string; what is beyond [`TEXT_MAX`] is cut.
    pub fn str(&mut self, id: u32, text: &[u8]) -> &[Slot] {
        let text = &text[..text.len().min(TEXT_MAX)];
        let mut head = Str::new_zeroed();
        head.tag = tag::STR;
        head.id = id.into();
        head.len = len16(text);
        self.lay(&head, STR_HEAD, &[text])
    }

    /// A process image.
    pub fn proc(&mut self, mut head: Proc) -> &[Slot] {
        head.tag = tag::PROC;
        self.lay(&head, 0, &[])
    }

    /// A loss.
    pub fn loss(&mut self, mut head: Loss) -> &[Slot] {
        head.tag = tag::LOSS;
        self.lay(&head, 0, &[])
    }

    /// Counters.
    pub fn stats(&mut self, mut head: Stats) -> &[Slot] {
        head.tag = tag::STATS;
        self.lay(&head, 0, &[])
    }

    /// The end.
    pub fn end(&mut self, mut head: End) -> &[Slot] {
        head.tag = tag::END;
        self.lay(&head, 0, &[])
    }

    /// A time for which nothing was recorded.
    pub fn gap(&mut self, mut head: Gap) -> &[Slot] {
        head.tag = tag::GAP;
        self.lay(&head, 0, &[])
    }

    /// A note; the lengths and the tail are set here. What is beyond [`NOTE_TEXT_MAX`] is cut, the text first.
    pub fn note(&mut self, mut head: Note, path: &[u8], text: &[u8]) -> &[Slot] {
        let path = &path[..path.len().min(NOTE_TEXT_MAX)];
        let text = &text[..text.len().min(NOTE_TEXT_MAX - path.len())];
        head.tag = tag::NOTE;
        (head.path_len, head.text_len) = (len16(path), len16(text));
        head.tail = [0; 40];
        self.lay(&head, NOTE_HEAD, &[path, text])
    }

    /// The answer to a command.
    pub fn answer(&mut self, mut head: Answer) -> &[Slot] {
        head.tag = tag::ANSWER;
        self.lay(&head, 0, &[])
    }

    /// Clocks.
    pub fn clock(&mut self, time_ns: u64, realtime_ns: u64) -> &[Slot] {
        self.counted_clock(time_ns, realtime_ns, 0)
    }

    /// Clocks in a stream, where `steps` counts how often the wall clock was set: [`Clock::steps`].
    pub(crate) fn counted_clock(&mut self, time_ns: u64, realtime_ns: u64, steps: u32) -> &[Slot] {
        let mut head = Clock::new_zeroed();
        head.tag = tag::CLOCK;
        head.steps = steps.into();
        head.time_ns = time_ns.into();
        head.realtime_ns = realtime_ns.into();
        self.lay(&head, 0, &[])
    }
}

/// Slots of an event with these names.
#[must_use]
#[inline]
pub fn event_slots(name: &[u8], name2: &[u8]) -> usize {
    slots_for(EVENT_HEAD + name.len().min(NAME_MAX) + name2.len().min(NAME_MAX))
}

/// Lays out an event in `room`, which has as many slots as [`event_slots`] says. The lengths and the tail
/// are set here, names longer than [`NAME_MAX`] are cut.
#[inline]
pub fn lay_event(room: &mut [Slot], mut head: Event, name: &[u8], name2: &[u8]) {
    debug_assert_eq!(room.len(), event_slots(name, name2));
    let name = &name[..name.len().min(NAME_MAX)];
    let name2 = &name2[..name2.len().min(NAME_MAX)];
    head.tag = tag::EVENT;
    #[expect(clippy::cast_possible_truncation, reason = "at most EVENT_SLOTS_MAX, which is 9")]
    let slots = room.len() as u8;
    head.slots = slots;
    head.name_len = len16(name);
    head.name2_len = len16(name2);
    head.tail = [0; 24];
    room[1..].fill(Slot::ZERO);
    let bytes = room.as_mut_bytes();
    bytes[..SLOT].copy_from_slice(head.as_bytes());
    let (at, end) = (EVENT_HEAD + name.len(), EVENT_HEAD + name.len() + name2.len());
    bytes[EVENT_HEAD..at].copy_from_slice(name);
    // Renames alone have a second one.
    if !name2.is_empty() {
        bytes[at..end].copy_from_slice(name2);
    }
}

fn len16(text: &[u8]) -> U16 {
    U16::new(u16::try_from(text.len()).expect("cut to TEXT_MAX before"))
}
