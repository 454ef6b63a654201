//! The path of the executable file, as the program at exec reads it.
//!
//! Programs on tracepoints may not call `bpf_d_path()`. So the program walks from the dentry of the file up to the
//! root, name by name and mount by mount. The names go into the message in that order, the file's own first, each
//! followed by a slash.
//!
//! The walk ends at our root, so that fsmon can open the path. Mounts of another mount namespace do not lead there:
//! their paths end at the root of the process.
//!
//! A rename during the walk could give a path that never existed. Each dentry counts its renames (`d_seq`), so the
//! walk is made twice: if both met the same dentries with the same counts, the path was valid between the two. If
//! not it is repeated, and in the end the path is marked unsure.

use super::asm::{
    Asm, Helper, If, Label, R1, R2, R3, R4, R6, R7, R8, R9, Reg, Size, Step, immediate, offset,
};
use super::layout::{DENTRY_BYTES, Files};
use super::look::ROOM;
use super::programs::{Programs, word};
use crate::hot::who::bpf_record::{self as record, end};
use crate::limits::start::{EXE_NAME_MAX, EXE_PATH_LEVELS, EXE_PATH_WALKS, PAUSE_BYTES};
use crate::sys::gauge::global;

/// [`EXE_NAME_MAX`] as a program compares with it.
const NAME_MAX: i32 = EXE_NAME_MAX.cast_signed();
/// Where the walk keeps its state: in the scratch room, after the longest message.
const WORK: i16 = 24 << 10;
/// The file: mount and dentry, and the root of the mount.
const FILE: i16 = WORK;
const FILE_MNT_ROOT: i16 = WORK + 16;
const NS: i16 = WORK + 24;
/// Our root and that of the process: mount and dentry.
const OURS: i16 = WORK + 32;
const THEIRS: i16 = WORK + 48;
/// The position of the walk.
const MNT: i16 = WORK + 64;
const DENTRY: i16 = WORK + 72;
const MNT_ROOT: i16 = WORK + 80;
/// Where the names begin in the room, and where the next one goes.
const START: i16 = WORK + 88;
const AT: i16 = WORK + 96;
/// Sum over everything that was met, and the sum of the previous walk.
const SUM: i16 = WORK + 104;
const SUM_BEFORE: i16 = WORK + 112;
/// Whether a rename was in progress.
const ODD: i16 = WORK + 120;
/// How it ended: [`end`].
const END: i16 = WORK + 128;
const FLAGS: i16 = WORK + 136;
const INUM: i16 = WORK + 144;
const BRIEF: i16 = WORK + 152;
/// A copy of the dentry.
const COPY: i16 = WORK + 160;

/// The last offset at which a name may begin: after it there is room for the longest name.
const AT_MAX: i32 = immediate(record::MESSAGE_MAX);

const _: () = assert!(AT_MAX + NAME_MAX + 1 < WORK as i32);
const _: () = assert!((COPY + DENTRY_BYTES) as i64 <= PAUSE_BYTES as i64);

impl Programs<'_> {
    /// Adds the path to the message at R9, after its R7 bytes so far. Uses R8.
    pub(super) fn path(&self, asm: &mut Asm, files: &Files) {
        let (alone, sure) = (asm.label(), asm.label());
        self.find_file(asm, files);
        self.look_at_file(asm, files, alone);
        for walk in 0..EXE_PATH_WALKS {
            for (from, to) in [(FILE, MNT), (FILE + 8, DENTRY), (FILE_MNT_ROOT, MNT_ROOT)] {
                move_word(asm, from, to);
            }
            move_word(asm, START, AT);
            for clean in [SUM, ODD, END] {
                asm.store_number(Size::Double, R9, clean, 0);
            }
            asm.repeat(EXE_PATH_LEVELS, Step::Path);
            asm.load(Size::Double, R1, R9, SUM);
            if walk > 0 {
                asm.load(Size::Double, R2, R9, SUM_BEFORE);
                asm.xor(R2, R1);
                asm.load(Size::Double, R3, R9, ODD);
                asm.or(R2, R3);
                asm.jump_if(If::Equal, R2, 0, sure);
            }
            asm.store(Size::Double, R9, SUM_BEFORE, R1);
        }
        add_flag(asm, R9, end::UNSURE);
        asm.jump(sure);
        asm.put(alone);
        self.own_name(asm, files);
        asm.put(sure);
        self.path_head(asm);
        // The verifier does not know the values in the room.
        asm.load(Size::Double, R7, R9, AT);
        asm.at_most(R7, (AT_MAX + NAME_MAX + 1) as u32);
    }

    /// Puts file, roots and namespace into the room.
    fn find_file(&self, asm: &mut Asm, files: &Files) {
        asm.copy(R1, R7);
        asm.add(R1, immediate(record::PATH_HEAD));
        asm.store(Size::Double, R9, START, R1);
        self.task(asm, 0);
        asm.load(Size::Double, R1, R8, self.layout.mm);
        asm.load(Size::Double, R1, R1, files.exe_file);
        // An address that went through the room is a plain number, with which all arithmetic is allowed.
        asm.store(Size::Double, R9, BRIEF, R1);
        asm.load(Size::Double, R1, R8, files.fs);
        asm.store(Size::Double, R9, THEIRS, R1);
        asm.load(Size::Double, R8, R9, BRIEF);
        copy_in(asm, R9, FILE, 16, R8, files.f_path);
        asm.load(Size::Double, R8, R9, THEIRS);
        copy_in(asm, R9, THEIRS, 16, R8, files.fs_root);
        asm.load(Size::Double, R8, R9, FILE);
        copy_in(asm, R9, FILE_MNT_ROOT, 8, R8, files.mnt_root);
        copy_in(asm, R9, NS, 8, R8, files.mnt_ns - files.vfsmount);
        asm.load(Size::Double, R8, R9, NS);
        asm.store_number(Size::Double, R9, INUM, 0);
        copy_in(asm, R9, INUM, 4, R8, files.inum);
        asm.map_value(R2, self.maps.globals);
        for (number, to) in [(global::ROOT_MNT, OURS), (global::ROOT_DENTRY, OURS + 8)] {
            asm.load(Size::Double, R1, R2, word(number));
            asm.store(Size::Double, R9, to, R1);
        }
        let (other, known) = (asm.label(), asm.label());
        asm.load(Size::Double, R1, R2, word(global::ROOT_NS));
        asm.jump_if_register(If::NotEqual, R8, R1, other);
        // For a process with another root among our mounts, the path begins at our root.
        asm.store_number(Size::Double, R9, THEIRS, 0);
        asm.store_number(Size::Double, R9, THEIRS + 8, 0);
        asm.store_number(Size::Double, R9, FLAGS, 0);
        asm.jump(known);
        asm.put(other);
        asm.store_number(Size::Double, R9, FLAGS, end::OTHER.cast_signed());
        asm.put(known);
    }

    /// Reads what the file itself shows: whether its name was removed, and whether it is in a directory; if not,
    /// goes to `alone`.
    fn look_at_file(&self, asm: &mut Asm, files: &Files, alone: Label) {
        let (named, hangs) = (asm.label(), asm.label());
        asm.load(Size::Double, R8, R9, FILE + 8);
        copy_in(asm, R9, COPY, DENTRY_BYTES as u32, R8, 0);
        asm.load(Size::Double, R1, R9, COPY + files.dentry.parent);
        asm.jump_if_register(If::NotEqual, R1, R8, hangs);
        asm.load(Size::Double, R1, R9, FILE_MNT_ROOT);
        asm.jump_if_register(If::NotEqual, R1, R8, alone);
        asm.jump(named);
        asm.put(hangs);
        asm.load(Size::Double, R1, R9, COPY + files.dentry.hashed);
        asm.jump_if(If::NotEqual, R1, 0, named);
        add_flag(asm, R9, end::DELETED);
        asm.put(named);
    }

    /// The name of a file that is in no directory, such as a memfd.
    fn own_name(&self, asm: &mut Asm, files: &Files) {
        asm.load(Size::Word, R8, R9, COPY + files.dentry.name_len);
        asm.at_most(R8, EXE_NAME_MAX);
        asm.copy(R1, R9);
        asm.add_register(R1, R7);
        asm.add(R1, immediate(record::PATH_HEAD));
        asm.copy(R2, R8);
        asm.load(Size::Double, R3, R9, COPY + files.dentry.name);
        asm.call(Helper::ProbeReadKernel);
        asm.load(Size::Double, R1, R9, START);
        asm.add_register(R1, R8);
        asm.store(Size::Double, R9, AT, R1);
        asm.store_number(Size::Double, R9, END, end::ALONE.cast_signed());
    }

    /// Fills the head of the path: the length of the names, flags, and the namespace.
    fn path_head(&self, asm: &mut Asm) {
        asm.copy(R1, R9);
        asm.add_register(R1, R7);
        asm.load(Size::Double, R2, R9, AT);
        asm.load(Size::Double, R3, R9, START);
        asm.subtract(R2, R3);
        asm.store(Size::Word, R1, offset(record::PATH_LEN), R2);
        asm.load(Size::Double, R2, R9, FLAGS);
        asm.load(Size::Double, R3, R9, END);
        asm.or(R2, R3);
        asm.store(Size::Word, R1, offset(record::PATH_FLAGS), R2);
        asm.load(Size::Double, R2, R9, INUM);
        asm.store(Size::Word, R1, offset(record::PATH_NS), R2);
        asm.store_number(Size::Word, R1, offset(record::PATH_NS) + 4, 0);
    }

    /// [`Step::Path`], with the caller's stack at R6: one name, or the step from a mount to its mount point.
    pub(super) fn path_step(&self, asm: &mut Asm, files: &Files) {
        let (mounted, ended) = (asm.label(), asm.label());
        asm.load(Size::Double, R6, R6, ROOM);
        asm.load(Size::Double, R7, R6, DENTRY);
        asm.load(Size::Double, R8, R6, MNT);
        for (root, which) in [(OURS, end::OURS), (THEIRS, end::THEIRS)] {
            let elsewhere = asm.label();
            asm.load(Size::Double, R1, R6, root + 8);
            asm.jump_if_register(If::NotEqual, R7, R1, elsewhere);
            asm.load(Size::Double, R1, R6, root);
            asm.set(R2, which);
            asm.jump_if_register(If::Equal, R8, R1, ended);
            asm.put(elsewhere);
        }
        asm.load(Size::Double, R1, R6, MNT_ROOT);
        asm.jump_if_register(If::Equal, R7, R1, mounted);
        self.step_over_name(asm, files, ended);
        asm.put(mounted);
        self.step_over_mount(asm, files, ended);
        asm.put(ended);
        asm.store(Size::Double, R6, END, R2);
        asm.leave(1);
    }

    /// R6: the room. R7: the dentry. Goes to `ended` with the reason in R2.
    fn step_over_name(&self, asm: &mut Asm, files: &Files, ended: Label) {
        let dentry = &files.dentry;
        copy_in(asm, R6, COPY, DENTRY_BYTES as u32, R7, 0);
        asm.set(R2, end::ALONE);
        asm.load(Size::Double, R9, R6, COPY + dentry.parent);
        asm.jump_if_register(If::Equal, R9, R7, ended);
        asm.jump_if(If::Equal, R9, 0, ended);
        asm.set(R2, end::CUT);
        asm.load(Size::Double, R8, R6, AT);
        asm.jump_if(If::Above, R8, AT_MAX, ended);
        asm.load(Size::Word, R4, R6, COPY + dentry.name_len);
        asm.jump_if(If::Above, R4, NAME_MAX, ended);
        asm.copy(R1, R8);
        asm.add_register(R1, R4);
        asm.load(Size::Double, R3, R6, START);
        asm.subtract(R1, R3);
        asm.jump_if(If::Above, R1, immediate(record::PATH_MAX) - 1, ended);
        asm.copy(R1, R6);
        asm.add_register(R1, R8);
        asm.add_register(R8, R4);
        asm.copy(R2, R4);
        asm.load(Size::Double, R3, R6, COPY + dentry.name);
        asm.call(Helper::ProbeReadKernel);
        asm.copy(R1, R6);
        asm.add_register(R1, R8);
        asm.store_number(Size::Byte, R1, 0, i32::from(b'/'));
        asm.add(R8, 1);
        asm.store(Size::Double, R6, AT, R8);
        // The count is read after the name, so the name is not newer.
        copy_in(asm, R6, COPY + dentry.seq, 4, R7, dentry.seq);
        asm.load(Size::Word, R1, R6, COPY + dentry.seq);
        asm.copy(R2, R1);
        asm.and_number(R2, 1);
        asm.load(Size::Double, R3, R6, ODD);
        asm.or(R3, R2);
        asm.store(Size::Double, R6, ODD, R3);
        asm.add_register(R1, R7);
        sum_up(asm);
        asm.store(Size::Double, R6, DENTRY, R9);
        asm.leave(0);
    }

    /// R6: the room. R8: the `struct vfsmount`. Goes to `ended` with the reason in R2.
    fn step_over_mount(&self, asm: &mut Asm, files: &Files, ended: Label) {
        copy_in(asm, R6, BRIEF, 8, R8, files.mnt_parent - files.vfsmount);
        asm.load(Size::Double, R9, R6, BRIEF);
        asm.set(R2, end::TOP);
        asm.jump_if(If::Equal, R9, 0, ended);
        asm.add(R9, files.vfsmount.into());
        asm.jump_if_register(If::Equal, R9, R8, ended);
        copy_in(asm, R6, DENTRY, 8, R8, files.mnt_mountpoint - files.vfsmount);
        asm.store(Size::Double, R6, MNT, R9);
        copy_in(asm, R6, MNT_ROOT, 8, R9, files.mnt_root);
        asm.copy(R1, R9);
        sum_up(asm);
        asm.leave(0);
    }
}

/// Adds R1 to the sum of what was met, with the room at R6. Uses R2.
fn sum_up(asm: &mut Asm) {
    asm.load(Size::Double, R2, R6, SUM);
    asm.multiply_number(R2, 31);
    asm.add_register(R2, R1);
    asm.store(Size::Double, R6, SUM, R2);
}

/// Copies a word within the room at R9. Uses R1.
fn move_word(asm: &mut Asm, from: i16, to: i16) {
    asm.load(Size::Double, R1, R9, from);
    asm.store(Size::Double, R9, to, R1);
}

/// Uses R1 and R2.
fn add_flag(asm: &mut Asm, room: Reg, flag: u32) {
    asm.load(Size::Double, R1, room, FLAGS);
    asm.set(R2, flag);
    asm.or(R1, R2);
    asm.store(Size::Double, room, FLAGS, R1);
}

/// Copies from a kernel address into the room; zero if the address is not readable.
fn copy_in(asm: &mut Asm, room: Reg, to: i16, bytes: u32, address: Reg, offset: i16) {
    asm.copy(R3, address);
    asm.add(R3, offset.into());
    asm.copy(R1, room);
    asm.add(R1, to.into());
    asm.set(R2, bytes);
    asm.call(Helper::ProbeReadKernel);
}
