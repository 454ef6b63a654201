//! From a message of our BPF programs to [`Message`]. Pure: no call, no panic, whatever the bytes
//! are.
//!
//! Layout: a perf sample (perf_event_open(2)) with nothing but its raw data: header, length u32,
//! then what `cold::bpf` puts together, by the offsets below.

use super::message::{Bytes, Kind, Message, Parsed, Progress, Source, comm};
use super::perf_record::{LOST, SAMPLE};
use arrayvec::ArrayVec;
use fsmon_format::record::{TEXT_MAX, proc_flag};

/// What happened: u32.
pub const KIND: usize = 0;
/// The process (tgid): u32.
pub const PID: usize = 4;
/// `CLOCK_MONOTONIC`: u64.
pub const TIME: usize = 8;
/// Reads that had been made of the queue: u32.
pub const READS: usize = 16;
/// The same, looked at last: u32.
pub const READS_AFTER: usize = 20;
/// Kernel id of the control group: u64.
pub const CGROUP: usize = 24;
/// Effective user: u32.
pub const UID: usize = 32;
/// Effective group: u32.
pub const GID: usize = 36;
/// The parent: u32.
pub const PARENT: usize = 40;
/// FORK: who called it, which is not the parent under `CLONE_PARENT`. COMM, CGROUP: the
/// thread that made the change. u32.
pub const CALLER: usize = 44;
/// EXEC: how long the arguments are: u32; 0 where they could not be read or were not asked for.
pub const ARGS_LEN: usize = 44;
/// The name, NUL-padded.
pub const COMM: usize = 48;
/// Bytes of the name.
pub const COMM_LEN: usize = 16;
/// File events in the queue: u32.
pub const LENGTH: usize = 64;
/// The reader's turn: u32.
pub const TURN: usize = 68;
/// The same, looked at last: u32.
pub const TURN_AFTER: usize = 72;
/// Whether the reader took nothing from the queue meanwhile, 1 or 0, and twice the number of
/// witnesses: u32.
pub const SETTLED: usize = 76;
/// Bytes of a message without witnesses.
pub const LEN: usize = 80;
/// The last events of the process in the queue, the latest first: how far each is from the end, u32,
/// and what it is of by now, u32.
pub const WITNESS: usize = 8;
/// The most of those. There is room for as many, in all but FORK and EXIT.
pub const WITNESSES: usize = 32;
/// EXEC: where the name given to exec begins. The arguments follow its NUL, and the path of the file
/// that runs follows them: [`PATH_HEAD`] bytes, then the names on the way from the file up to the
/// root, each but for [`end::ALONE`] followed by a slash.
pub const EXE: usize = LEN + WITNESSES * WITNESS;
/// The longest of those, NUL included.
pub const EXE_MAX: usize = fsmon_format::record::TEXT_MAX;

/// Bytes of the arguments that a message carries at most.
pub const ARGS_MAX: usize = crate::limits::CMDLINE_BYTES;

/// Bytes before the path.
pub const PATH_HEAD: usize = 16;
/// In there: bytes of the path: u32.
pub const PATH_LEN: usize = 0;
/// What is to be said of it, [`end`]: u32.
pub const PATH_FLAGS: usize = 4;
/// Number of the mount namespace that the file is in; 0 where it is in none: u32.
pub const PATH_NS: usize = 8;
/// The longest path, in bytes. A slash begins what ends with one here.
pub const PATH_MAX: usize = fsmon_format::record::TEXT_MAX - DELETED.len();

/// The longest message of a BPF program, in bytes, each part at its longest: an exec with the name given to it,
/// its arguments, and the path of the file that runs.
pub const MESSAGE_MAX: usize = EXE + EXE_MAX + ARGS_MAX + PATH_HEAD + PATH_MAX;

/// What the path of a file that was removed ends with, as in /proc.
pub(super) const DELETED: &[u8] = b" (deleted)";

/// How a path ended, one of the first five or none where it is too deep, and what else is to be
/// said of it: bits.
pub mod end {
    /// At our root.
    pub const OURS: u32 = 1;
    /// At the root of the process, in another mount namespace than ours.
    pub const THEIRS: u32 = 2;
    /// At the top of a mount namespace, or of mounts that are in none.
    pub const TOP: u32 = 4;
    /// At a dentry in no directory. Without a slash: the file is in no directory, and this is its name.
    pub const ALONE: u32 = 8;
    /// There was no room for all of it: the beginning is missing.
    pub const CUT: u32 = 16;
    /// The file's name was removed.
    pub const DELETED: u32 = 32;
    /// A rename ran meanwhile: the path may never have existed.
    pub const UNSURE: u32 = 64;
    /// The file is in another mount namespace than ours.
    pub const OTHER: u32 = 128;
}

/// Values of [`KIND`].
pub mod kind {
    /// A process was made.
    pub const FORK: u32 = 1;
    /// exec is done.
    pub const EXEC: u32 = 2;
    /// The last thread ends.
    pub const EXIT: u32 = 3;
    /// It got another name.
    pub const COMM: u32 = 4;
    /// It got another user or group.
    pub const CRED: u32 = 5;
    /// It was moved to another control group.
    pub const CGROUP: u32 = 6;
    /// exec can fail no more. Where command lines are asked for.
    pub const EXEC_BEGINS: u32 = 7;
}

const HEADER: usize = 8;

/// Takes one whole perf record, header included.
#[must_use]
pub fn parse(record: &[u8]) -> Parsed<'_> {
    checked(record).unwrap_or(Parsed::Malformed)
}

fn checked(record: &[u8]) -> Option<Parsed<'_>> {
    let bytes = Bytes(record);
    match bytes.u32(0)? {
        SAMPLE => message(raw(record)?),
        // The kernel reports these when there is room again; the programs have already counted them.
        LOST => bytes.u64(HEADER + 8).map(|_| Parsed::Skip),
        _ => Some(Parsed::Skip),
    }
}

fn raw(record: &[u8]) -> Option<&[u8]> {
    let len = Bytes(record).u32(HEADER)? as usize;
    record.get(HEADER + 4..)?.get(..len)
}

/// The witnesses in a record that is a message: each how far from the end of the queue an event was,
/// and the lower half of its mask.
pub fn witnesses(record: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    let raw = raw(record).unwrap_or_default();
    let count = Bytes(raw).u32(SETTLED).unwrap_or_default() as usize / 2;
    (0..count.min(WITNESSES)).map_while(|index| {
        let at = LEN + index * WITNESS;
        Some((Bytes(raw).u32(at)?, Bytes(raw).u32(at + 4)?))
    })
}

/// The arguments in a record that is a message of an exec, a NUL after each, and whether these are
/// but the beginning; `None` where it has none.
#[must_use]
pub fn args(record: &[u8]) -> Option<(&[u8], bool)> {
    let raw = raw(record)?;
    let (start, len) = args_at(raw)?;
    if len == 0 {
        return None;
    }
    let args = raw.get(start..)?.get(..len.min(ARGS_MAX))?;
    // Without the last NUL it may fit.
    Some((args, len > ARGS_MAX + 1))
}

/// Where the arguments of an exec begin, and how long they are.
fn args_at(raw: &[u8]) -> Option<(usize, usize)> {
    let bytes = Bytes(raw);
    if bytes.u32(KIND)? != kind::EXEC {
        return None;
    }
    let exe = bytes.from(EXE)?;
    let exe = &exe[..exe.len().min(EXE_MAX)];
    let start = EXE + memchr::memchr(0, exe)? + 1;
    Some((start, bytes.u32(ARGS_LEN)? as usize))
}

/// The path of the file that runs, from the message of an exec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// The path. It has no leading slash if its beginning is missing or the file is in no directory.
    pub text: ArrayVec<u8, TEXT_MAX>,
    /// Number of the mount namespace that it holds in; 0 for ours.
    pub root: u32,
    /// EXE_CUT and EXE_UNSURE of [`proc_flag`].
    pub flags: u16,
}

/// The path in a record that is a message of an exec; `None` where it has none.
#[must_use]
pub fn path(record: &[u8]) -> Option<Path> {
    let raw = raw(record)?;
    let (start, len) = args_at(raw)?;
    let rest = Bytes(raw.get(start + len.min(ARGS_MAX)..)?);
    let (len, flags) = (rest.u32(PATH_LEN)? as usize, rest.u32(PATH_FLAGS)?);
    let namespace = rest.u32(PATH_NS)?;
    let names = rest.from(PATH_HEAD)?.get(..len.min(PATH_MAX))?;
    let has = |flag| flags & flag != 0;
    let mut path = Path::default();
    if has(end::ALONE) && !names.contains(&b'/') {
        path.text.try_extend_from_slice(names).ok()?;
        return Some(path).filter(|path| !path.text.is_empty());
    }
    let whole = has(end::OURS | end::THEIRS | end::TOP);
    let detached = has(end::TOP) && namespace == 0;
    path.flags |= if whole { 0 } else { proc_flag::EXE_CUT };
    path.flags |= if has(end::UNSURE) || detached { proc_flag::EXE_UNSURE } else { 0 };
    let ours = has(end::OURS) || !whole && !has(end::OTHER);
    path.root = if ours { 0 } else { namespace };
    let names = names.strip_suffix(b"/")?;
    for name in names.rsplit(|byte| *byte == b'/') {
        if whole || !path.text.is_empty() {
            path.text.try_push(b'/').ok()?;
        }
        path.text.try_extend_from_slice(name).ok()?;
    }
    if has(end::DELETED) {
        path.text.try_extend_from_slice(DELETED).ok()?;
    }
    Some(path)
}

fn message(raw: &[u8]) -> Option<Parsed<'_>> {
    let bytes = Bytes(raw);
    let kind = match bytes.u32(KIND)? {
        kind::FORK => Kind::Fork,
        kind::EXEC => Kind::Exec,
        kind::EXIT => Kind::Exit,
        kind::COMM => Kind::Comm,
        kind::CRED => Kind::Uid,
        kind::CGROUP => Kind::Cgroup,
        kind::EXEC_BEGINS => Kind::CommExec,
        _ => return None,
    };
    let mut message = Message::new(kind, Source::Bpf, bytes.u64(TIME)?, bytes.u32(PID)?);
    message.cgroup_id = bytes.u64(CGROUP)?;
    (message.value, message.gid) = (bytes.u32(UID)?, bytes.u32(GID)?);
    (message.parent, message.caller) = (bytes.u32(PARENT)?, bytes.u32(CALLER)?);
    if kind == Kind::Exec {
        // There it is the length of the arguments.
        message.caller = 0;
    }
    message.progress = Progress {
        reads: bytes.u32(READS)?,
        reads_after: bytes.u32(READS_AFTER)?,
        length: bytes.u32(LENGTH)?,
        turn: bytes.u32(TURN)?,
        turn_after: bytes.u32(TURN_AFTER)?,
        settled: bytes.u32(SETTLED)? & 1 != 0,
    };
    message.comm = comm(raw.get(COMM..COMM + COMM_LEN)?);
    if message.pid == 0 {
        return Some(Parsed::Skip);
    }
    let rest = raw.get(EXE..).filter(|_| kind == Kind::Exec).unwrap_or_default();
    let exe = &rest[..memchr::memchr(0, rest).unwrap_or(rest.len()).min(EXE_MAX - 1)];
    Some(Parsed::Message(message, exe))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(kind: u32, length: u32, exe: &[u8]) -> Vec<u8> {
        let mut raw = vec![0; LEN];
        raw[KIND..][..4].copy_from_slice(&kind.to_ne_bytes());
        raw[PID..][..4].copy_from_slice(&7u32.to_ne_bytes());
        raw[TIME..][..8].copy_from_slice(&11u64.to_ne_bytes());
        raw[LENGTH..][..4].copy_from_slice(&length.to_ne_bytes());
        raw[UID..][..4].copy_from_slice(&1000u32.to_ne_bytes());
        raw[PARENT..][..4].copy_from_slice(&3u32.to_ne_bytes());
        raw[COMM..][..4].copy_from_slice(b"make");
        raw.resize(EXE, 0);
        (raw[SETTLED], raw[LEN], raw[LEN + 4]) = (1 + 2, 9, 8);
        raw.extend_from_slice(exe);
        let mut record = SAMPLE.to_ne_bytes().to_vec();
        record.extend([0; 4]);
        record.extend((raw.len() as u32).to_ne_bytes());
        record.extend(raw);
        record
    }

    #[test]
    fn a_message_is_taken_apart() {
        let record = sample(kind::EXEC, 5, b"/bin/make\0rubbish");
        let Parsed::Message(message, exe) = parse(&record) else { panic!("a message") };
        assert_eq!((message.kind, message.pid, message.parent), (Kind::Exec, 7, 3));
        assert_eq!((message.time_ns, message.progress.length, message.value), (11, 5, 1000));
        assert!(message.progress.settled);
        assert_eq!(witnesses(&record).collect::<Vec<_>>(), [(9, 8)]);
        assert_eq!((&message.comm[..5], exe), (&b"make\0"[..], &b"/bin/make"[..]));
    }

    #[test]
    fn what_found_no_room_is_not_counted_twice() {
        let mut record = LOST.to_ne_bytes().to_vec();
        record.extend([0; 12]);
        record.extend(5u64.to_ne_bytes());
        assert_eq!(parse(&record), Parsed::Skip);
        assert_eq!(parse(&record[..20]), Parsed::Malformed);
    }

    #[test]
    fn the_caller_is_known_except_for_an_exec() {
        let kinds = [(kind::FORK, 9), (kind::COMM, 9), (kind::CGROUP, 9), (kind::EXEC, 0)];
        for (kind, caller) in kinds {
            let mut record = sample(kind, 5, b"");
            record[HEADER + 4 + CALLER] = 9;
            let Parsed::Message(message, _) = parse(&record) else { panic!("a message") };
            assert_eq!(message.caller, caller, "{kind}");
        }
    }

    #[test]
    fn arguments_follow_the_name() {
        let with = |len: usize, rest: &[u8]| {
            let mut record = sample(kind::EXEC, 5, &[b"/bin/make\0", rest].concat());
            let at = HEADER + 4 + ARGS_LEN;
            record[at..at + 4].copy_from_slice(&(len as u32).to_ne_bytes());
            record
        };
        let record = with(8, b"make\0-j\0rubbish");
        assert_eq!(args(&record), Some((&b"make\0-j\0"[..], false)));
        assert_eq!(args(&with(0, b"make\0")), None);
        assert_eq!(args(&with(9, b"make\0-j\0")), None, "less than it says");
        let long = vec![b'x'; ARGS_MAX];
        for (len, cut) in [(0, false), (1, false), (2, true), (1 << 20, true)] {
            assert_eq!(args(&with(ARGS_MAX + len, &long)), Some((&long[..], cut)));
        }
        for len in 0..record.len() {
            let _ = args(&record[..len]);
        }
    }

    /// A message of an exec with the arguments `x`, and a path.
    fn with_path(names: &[u8], flags: u32, namespace: u32) -> Vec<u8> {
        let mut head = (names.len() as u32).to_ne_bytes().to_vec();
        head.extend(flags.to_ne_bytes().into_iter().chain(namespace.to_ne_bytes()));
        head.resize(PATH_HEAD, 0);
        let mut record = sample(kind::EXEC, 5, &[b"./a\0x\0", &head[..], names, b"pad"].concat());
        record[HEADER + 4 + ARGS_LEN] = 2;
        record
    }

    #[test]
    fn names_are_put_in_order() {
        let is = |names: &[u8], flags: u32, namespace: u32| {
            let Path { text, root, flags } =
                path(&with_path(names, flags, namespace)).expect("a path");
            (text.to_vec(), root, flags)
        };
        let names = b"cc/bin/usr/";
        assert_eq!(is(names, end::OURS, 7), (b"/usr/bin/cc".to_vec(), 0, 0));
        assert_eq!(is(names, end::THEIRS | end::OTHER, 7), (b"/usr/bin/cc".to_vec(), 7, 0));
        assert_eq!(is(names, end::TOP, 7), (b"/usr/bin/cc".to_vec(), 7, 0));
        let (cut, unsure) = (proc_flag::EXE_CUT, proc_flag::EXE_UNSURE);
        assert_eq!(is(names, end::TOP, 0), (b"/usr/bin/cc".to_vec(), 0, unsure));
        assert_eq!(is(names, end::OURS | end::UNSURE, 7), (b"/usr/bin/cc".to_vec(), 0, unsure));
        let deleted = b"/usr/bin/cc (deleted)".to_vec();
        assert_eq!(is(names, end::OURS | end::DELETED, 7), (deleted, 0, 0));
        for flags in [end::CUT, 0, end::ALONE] {
            assert_eq!(is(names, flags, 7), (b"usr/bin/cc".to_vec(), 0, cut), "{flags}");
            assert_eq!(is(names, flags | end::OTHER, 7).1, 7);
        }
        assert_eq!(is(b"memfd:a b", end::ALONE, 0), (b"memfd:a b".to_vec(), 0, 0));
    }

    #[test]
    fn a_path_that_makes_no_sense_is_none() {
        let longest = [&[b'x'; PATH_MAX - 1][..], b"/"].concat();
        let whole = path(&with_path(&longest, end::OURS | end::DELETED, 0)).expect("fits");
        assert_eq!(whole.text.len(), TEXT_MAX);
        assert_eq!(path(&with_path(b"", end::OURS, 0)), None);
        assert_eq!(path(&with_path(b"", end::ALONE, 0)), None);
        assert_eq!(path(&with_path(b"cc", end::OURS, 0)), None, "no slash");
        // As recorded before there were paths.
        assert_eq!(path(&sample(kind::EXEC, 5, b"/bin/cc\0\0\0\0\0\0\0\0")), None);
        let record = with_path(b"cc/bin/", u32::MAX, u32::MAX);
        for len in 0..record.len() {
            let _ = path(&record[..len]);
        }
        for at in HEADER + 4..record.len() {
            for bit in 0..8 {
                let mut record = record.clone();
                record[at] ^= 1 << bit;
                let _ = (path(&record), args(&record));
            }
        }
    }

    #[test]
    fn cut_or_unknown_it_is_malformed() {
        let record = sample(kind::FORK, 5, b"");
        for len in 0..record.len() {
            let _ = witnesses(&record[..len]).count();
            assert_eq!(parse(&record[..len]), Parsed::Malformed, "{len}");
        }
        assert_eq!(parse(&sample(99, 5, b"")), Parsed::Malformed);
    }
}
