//! How a program finds the position of the reader in the queue of file events.
//!
//! The number of reads and the length of the queue belong together only while no events are taken from the queue.
//! Only the reader takes events, in calls that it marks. So a program looks again while such a call is in progress,
//! or while the lock of the queue is held. A result from the middle of a read is marked as not settled.
//!
//! The kernel merges an event into an equal one that waits, so an event can have types from before and from after a
//! change. So each message of a change carries the last waiting events of its process with their types at that time
//! (the witnesses): types that an event gets later come from after the change.

use super::asm::{
    Asm, Helper, If, Label, R0, R1, R2, R3, R6, R7, R8, R9, Reg, STACK, Size, Step, immediate,
    offset,
};
use super::layout::{PREVIOUS, SNAPSHOT_BYTES};
use super::programs::{Programs, word};
use crate::hot::who::bpf_record as record;
use crate::limits::start::{
    LONG_PAUSE_BYTES, PAUSE_BYTES, QUEUE_STEPS, READER_LOOKS_MAX, READER_PATIENCE_NS,
};
use crate::sys::gauge::global;

/// On the stack: results of a look, the key of a map, the message.
pub(super) const TURN: i16 = -8;
pub(super) const TURN_AFTER: i16 = -16;
pub(super) const READS: i16 = -24;
pub(super) const READS_AFTER: i16 = -32;
pub(super) const SETTLED: i16 = -40;
/// Two snapshots of the queue; later one event of it.
pub(super) const SNAPSHOT: i16 = -104;
/// Bytes of a snapshot, as a length.
const SNAPSHOT_LEN: u16 = SNAPSHOT_BYTES.unsigned_abs();
const SNAPSHOT_AFTER: i16 = -168;
const EVENT: i16 = SNAPSHOT_AFTER;
/// State of the walk through the queue.
const OWNER: i16 = -176;
/// Events that were passed.
const WENT: i16 = -184;
const HEAD: i16 = -192;
pub(super) const KEY: i16 = -200;
pub(super) const ROOM: i16 = -208;
const SINCE: i16 = -216;
/// The next event.
const NEXT: i16 = -224;
pub(super) const MESSAGE: i32 = NEXT as i32 - immediate(record::LEN);

/// The number of witnesses while they are collected. It is in the message and not on the stack, where the verifier
/// would follow each value separately.
pub(super) const COUNT: i16 = offset(record::SETTLED);

impl Programs<'_> {
    /// Puts the address of the scratch room into its slot of the stack.
    pub(super) fn find_room(&self, asm: &mut Asm, skip: Label) {
        asm.store_number(Size::Word, STACK, KEY, 0);
        asm.map(R1, self.maps.scratch);
        asm.copy(R2, STACK);
        asm.add(R2, KEY.into());
        asm.call(Helper::MapLookup);
        asm.jump_if(If::Equal, R0, 0, skip);
        asm.store(Size::Double, STACK, ROOM, R0);
    }

    /// Looks until the result is settled, which leads to `done`, or gives up. `looks` has the number of looks, and
    /// the pauses after each. A reader that was stopped or frozen
    /// during a read stays in it: the first program that finds it so waits, later ones do not.
    pub(super) fn look_long(
        &self,
        asm: &mut Asm,
        looks: &[(u32, usize)],
        patient: bool,
        done: Label,
    ) {
        let (given_up, amid) = (asm.label(), asm.label());
        asm.map_value(R7, self.maps.globals);
        self.look(asm, done);
        asm.load(Size::Double, R1, STACK, TURN);
        asm.load(Size::Double, R2, R7, word(global::STUCK));
        asm.jump_if_register(If::Equal, R1, R2, given_up);
        for &(looks, pauses) in looks {
            self.look_again(asm, looks, Step::Look(pauses), done);
        }
        if patient {
            self.look_patiently(asm, done);
        }
        asm.load(Size::Double, R1, STACK, TURN);
        asm.jump_if(If::Any, R1, 1, amid);
        asm.jump(given_up);
        asm.put(amid);
        asm.store(Size::Double, R7, word(global::STUCK), R1);
        asm.put(given_up);
    }

    /// Looks once, into slots of the stack; goes to `done` if the result is settled. R7: the globals.
    pub(super) fn look(&self, asm: &mut Asm, done: Label) {
        asm.store_number(Size::Double, STACK, SETTLED, 1);
        self.look_once(asm, STACK, done);
    }

    /// Looks again up to `looks` times, until the result is settled, which leads to `done`.
    fn look_again(&self, asm: &mut Asm, looks: u32, step: Step, done: Label) {
        asm.store_number(Size::Double, STACK, SETTLED, 0);
        asm.repeat(looks, step);
        asm.load(Size::Double, R1, STACK, SETTLED);
        asm.jump_if(If::NotEqual, R1, 0, done);
    }

    /// [`Step::Look`], with the caller's stack at R6.
    pub(super) fn look_step(&self, asm: &mut Asm, pauses: usize) {
        let settled = asm.label();
        asm.map_value(R7, self.maps.globals);
        self.look_once(asm, R6, settled);
        for _ in 0..pauses {
            asm.load(Size::Double, R1, R6, ROOM);
            self.pause(asm, PAUSE_BYTES);
        }
        asm.leave(0);
        asm.put(settled);
        asm.store_number(Size::Double, R6, SETTLED, 1);
        asm.leave(1);
    }

    /// The same for [`READER_PATIENCE_NS`].
    fn look_patiently(&self, asm: &mut Asm, done: Label) {
        asm.call(Helper::KtimeGetNs);
        asm.store(Size::Double, STACK, SINCE, R0);
        self.look_again(asm, READER_LOOKS_MAX, Step::Patient, done);
    }

    /// [`Step::Patient`], with the caller's stack at R6.
    pub(super) fn patient_step(&self, asm: &mut Asm) {
        let (settled, over) = (asm.label(), asm.label());
        asm.map_value(R7, self.maps.globals);
        self.look_once(asm, R6, settled);
        asm.map_value(R1, self.maps.pause);
        self.pause(asm, LONG_PAUSE_BYTES);
        asm.call(Helper::KtimeGetNs);
        asm.load(Size::Double, R1, R6, SINCE);
        asm.subtract(R0, R1);
        asm.jump_if(If::Above, R0, READER_PATIENCE_NS, over);
        asm.leave(0);
        asm.put(settled);
        asm.store_number(Size::Double, R6, SETTLED, 1);
        asm.put(over);
        asm.leave(1);
    }

    /// Pauses by copying the bytes at R1 onto themselves.
    fn pause(&self, asm: &mut Asm, bytes: u32) {
        asm.copy(R3, R1);
        asm.set(R2, bytes);
        asm.call(Helper::ProbeReadKernel);
    }

    /// One look, into the stack whose end is at `frame`; goes to `done` if it is settled. R7: the globals. Uses R1
    /// to R3.
    fn look_once(&self, asm: &mut Asm, frame: Reg, done: Label) {
        self.take_look(asm, frame);
        // R1 collects the reasons against it: a read in progress, a read begun or ended, the lock held, another
        // event.
        asm.load(Size::Double, R1, frame, TURN);
        asm.copy(R2, R1);
        asm.and_number(R1, 1);
        asm.load(Size::Double, R3, frame, TURN_AFTER);
        asm.xor(R2, R3);
        asm.or(R1, R2);
        let queue = &self.layout.queue;
        for at in [SNAPSHOT, SNAPSHOT_AFTER] {
            asm.load(Size::Word, R2, frame, queue.within(at, queue.lock));
            asm.or(R1, R2);
        }
        for (at, size) in [(queue.list + PREVIOUS, Size::Double), (queue.length, Size::Word)] {
            asm.load(size, R2, frame, queue.within(SNAPSHOT, at));
            asm.load(size, R3, frame, queue.within(SNAPSHOT_AFTER, at));
            asm.xor(R2, R3);
            asm.or(R1, R2);
        }
        asm.jump_if(If::Equal, R1, 0, done);
    }

    fn take_look(&self, asm: &mut Asm, frame: Reg) {
        let numbers = [(global::TURN, TURN), (global::READS, READS)];
        for (number, slot) in numbers {
            asm.load(Size::Double, R1, R7, word(number));
            asm.store(Size::Double, frame, slot, R1);
        }
        for slot in [SNAPSHOT, SNAPSHOT_AFTER] {
            asm.load(Size::Double, R3, R7, word(global::GROUP));
            self.peek(asm, frame, slot, SNAPSHOT_LEN, R3, self.layout.queue.start());
        }
        let numbers = [(global::READS, READS_AFTER), (global::TURN, TURN_AFTER)];
        for (number, slot) in numbers {
            asm.load(Size::Double, R1, R7, word(number));
            asm.store(Size::Double, frame, slot, R1);
        }
    }

    /// Puts the last waiting events of the task into the message at R9: the distance of each from the end of the
    /// queue, and its types. Then goes to `seen`, unless a read began meanwhile. Uses R7.
    pub(super) fn witnesses(&self, asm: &mut Asm, seen: Label) {
        let queue = &self.layout.queue;
        asm.store_number(Size::Word, R9, COUNT, 0);
        asm.load(Size::Double, R1, STACK, SETTLED);
        asm.jump_if(If::Equal, R1, 0, seen);
        asm.load(Size::Double, R1, R8, self.layout.signal);
        asm.load(Size::Double, R1, R1, self.layout.tgid_pid);
        asm.store(Size::Double, STACK, OWNER, R1);
        asm.load(Size::Double, R1, R7, word(global::GROUP));
        asm.add(R1, queue.list.into());
        asm.store(Size::Double, STACK, HEAD, R1);
        asm.load(Size::Double, R1, STACK, queue.within(SNAPSHOT, queue.list + PREVIOUS));
        asm.store(Size::Double, STACK, NEXT, R1);
        asm.repeat(QUEUE_STEPS, Step::Witness);
        asm.map_value(R7, self.maps.globals);
        asm.load(Size::Double, R1, R7, word(global::TURN));
        asm.load(Size::Double, R2, STACK, TURN);
        asm.jump_if_register(If::Equal, R1, R2, seen);
    }

    /// [`Step::Witness`], with the caller's stack at R6.
    pub(super) fn witness_step(&self, asm: &mut Asm) {
        let (next, end) = (asm.label(), asm.label());
        asm.store(Size::Double, R6, WENT, R1);
        asm.load(Size::Double, R7, R6, NEXT);
        asm.load(Size::Double, R1, R6, HEAD);
        asm.jump_if_register(If::Equal, R7, R1, end);
        self.peek(asm, R6, EVENT, SNAPSHOT_LEN, R7, 0);
        asm.load(Size::Double, R1, R6, EVENT + self.layout.event.pid);
        asm.load(Size::Double, R2, R6, OWNER);
        asm.jump_if_register(If::NotEqual, R1, R2, next);
        asm.load(Size::Double, R9, R6, ROOM);
        self.witness(asm, end);
        asm.put(next);
        asm.load(Size::Double, R1, R6, EVENT + PREVIOUS);
        asm.store(Size::Double, R6, NEXT, R1);
        asm.leave(0);
        asm.put(end);
        asm.leave(1);
    }

    /// Adds the current event to the message at R9, with the caller's stack at R6; goes to `full` if there is no
    /// room.
    fn witness(&self, asm: &mut Asm, full: Label) {
        asm.load(Size::Word, R3, R9, COUNT);
        asm.jump_if(If::Above, R3, immediate(record::WITNESSES) - 1, full);
        asm.copy(R1, R3);
        asm.add(R3, 1);
        asm.store(Size::Word, R9, COUNT, R3);
        asm.multiply_number(R1, immediate(record::WITNESS));
        asm.copy(R2, R9);
        asm.add_register(R2, R1);
        asm.load(Size::Double, R1, R6, WENT);
        asm.store(Size::Word, R2, offset(record::LEN), R1);
        asm.load(Size::Word, R1, R6, EVENT + self.layout.event.mask);
        asm.store(Size::Word, R2, offset(record::LEN) + 4, R1);
    }

    /// Copies from a kernel address to a slot of the stack whose end is at `frame`; zero if the address is not
    /// readable.
    pub(super) fn peek(
        &self,
        asm: &mut Asm,
        frame: Reg,
        slot: i16,
        bytes: u16,
        address: Reg,
        offset: i16,
    ) {
        asm.copy(R3, address);
        asm.add(R3, offset.into());
        asm.copy(R1, frame);
        asm.add(R1, slot.into());
        asm.set(R2, bytes.into());
        asm.call(Helper::ProbeReadKernel);
    }
}
