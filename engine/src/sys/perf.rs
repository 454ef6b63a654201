//! perf rings: one event and one mapped ring per CPU, for all processes.
//!
//! The kernel writes records at `data_head`, we read up to it and hand the room back through
//! `data_tail`. No system call is needed to read.

use super::fd::owned;
use fsmon_format::number::to_usize;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of `struct perf_event_attr` up to and with `clockid` (`PERF_ATTR_SIZE_VER3`).
const ATTR_SIZE: u32 = 96;
/// The longest record: its size is 16 bits.
const RECORD_MAX: usize = 1 << 16;
/// Bytes before the payload of a record: type u32, misc u16, size u16.
const HEADER: usize = 8;

/// `struct perf_event_attr` of linux/perf_event.h, version 3, with the unions by what we use.
#[repr(C)]
#[derive(Default)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
}

const _: () = assert!(size_of::<Attr>() == ATTR_SIZE as usize);
const _: () = assert!(std::mem::offset_of!(Attr, clockid) == 92);

/// `attr.type`
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_TYPE_TRACEPOINT: u32 = 2;
/// `attr.config` of an event that never samples.
const PERF_COUNT_SW_DUMMY: u64 = 9;
const PERF_COUNT_SW_BPF_OUTPUT: u64 = 10;
/// `attr.sample_type`
const PERF_SAMPLE_TID: u64 = 1 << 1;
const PERF_SAMPLE_TIME: u64 = 1 << 2;
const PERF_SAMPLE_RAW: u64 = 1 << 10;
const PERF_SAMPLE_CGROUP: u64 = 1 << 21;
/// `attr` bit fields, by their position.
const FLAG_COMM: u64 = 1 << 9;
const FLAG_TASK: u64 = 1 << 13;
const FLAG_WATERMARK: u64 = 1 << 14;
const FLAG_SAMPLE_ID_ALL: u64 = 1 << 18;
const FLAG_COMM_EXEC: u64 = 1 << 24;
const FLAG_USE_CLOCKID: u64 = 1 << 25;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;

/// Offsets in `struct perf_event_mmap_page`.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

/// Which events to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// COMM, FORK and EXIT records, and a sample at every hit of this tracepoint.
    Tracepoint {
        /// The tracepoint's number.
        id: u64,
        /// Whether samples carry the cgroup (needs `CONFIG_CGROUP_PERF`).
        cgroup: bool,
    },
    /// COMM, FORK and EXIT records.
    Comm,
    /// Records that BPF programs write.
    Bpf,
}

impl Event {
    fn attr(self, watermark: u32) -> Attr {
        let (kind, config, period, sample) = match self {
            Event::Tracepoint { id, cgroup } => (
                PERF_TYPE_TRACEPOINT,
                id,
                1,
                PERF_SAMPLE_RAW | if cgroup { PERF_SAMPLE_CGROUP } else { 0 },
            ),
            Event::Comm => (PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY, 0, 0),
            Event::Bpf => {
                return Attr {
                    kind: PERF_TYPE_SOFTWARE,
                    size: ATTR_SIZE,
                    config: PERF_COUNT_SW_BPF_OUTPUT,
                    sample_period: 1,
                    sample_type: PERF_SAMPLE_RAW,
                    flags: FLAG_WATERMARK,
                    wakeup_watermark: watermark,
                    ..Attr::default()
                };
            }
        };
        Attr {
            kind,
            size: ATTR_SIZE,
            config,
            sample_period: period,
            sample_type: PERF_SAMPLE_TID | PERF_SAMPLE_TIME | sample,
            flags: FLAG_COMM
                | FLAG_TASK
                | FLAG_WATERMARK
                | FLAG_SAMPLE_ID_ALL
                | FLAG_COMM_EXEC
                | FLAG_USE_CLOCKID,
            wakeup_watermark: watermark,
            clockid: libc::CLOCK_MONOTONIC,
            ..Attr::default()
        }
    }
}

/// The ring of one CPU.
pub struct Ring {
    fd: OwnedFd,
    base: *mut u8,
    page: usize,
    size: usize,
}

// SAFETY: the mapping belongs to this value alone and is not tied to a thread.
unsafe impl Send for Ring {}

impl Event {
    /// Opens the event on `cpu` for all processes, to be mapped with `size` bytes of ring.
    ///
    /// # Errors
    /// EACCES or EPERM without `CAP_PERFMON` where `kernel.perf_event_paranoid` is above 0 (or
    /// above -1 for tracepoints); EMFILE without a descriptor left.
    pub fn open(self, cpu: usize, size: usize) -> io::Result<OwnedFd> {
        let attr = self.attr(u32::try_from(size / 4).unwrap_or(u32::MAX));
        let number = libc::c_int::try_from(cpu).map_err(io::Error::other)?;
        // SAFETY: `attr` is a valid perf_event_attr of the size it states (checked above by
        // const asserts) and outlives the call; the other arguments are plain numbers.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attr,
                -1 as libc::pid_t,
                number,
                -1 as libc::c_int,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        owned(fd)
    }
}

impl Ring {
    /// Maps `size` bytes of ring of an event that [`Event::open`] opened: a power of two of at least
    /// a page.
    ///
    /// # Errors
    /// EPERM where no more memory may be locked (`RLIMIT_MEMLOCK` on top of
    /// `kernel.perf_event_mlock_kb`, without `CAP_IPC_LOCK`); ENOMEM without memory.
    pub fn map(fd: OwnedFd, size: usize) -> io::Result<Ring> {
        // SAFETY: plain number in and out.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: a new shared mapping of our own descriptor at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                page + size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Ring { fd, base: base.cast(), page, size })
    }

    /// Readable when a quarter of the ring is full.
    #[must_use]
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn index(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset == DATA_HEAD || offset == DATA_TAIL);
        // SAFETY: the first page of the mapping is the control page, at least 4096 bytes, mapped
        // for as long as `self`; both offsets are 8-aligned. The kernel writes head and reads
        // tail as single 64-bit accesses (perf_event_mmap(2)).
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast()) }
    }

    /// Passes each whole record (header included) to `take`, oldest first, until none is left or `take` returns
    /// false; then that record stays. `scratch` is for records that wrap. Returns false if the contents of the ring
    /// make no sense; they are then dropped.
    pub fn drain(&mut self, scratch: &mut Scratch, mut take: impl FnMut(&[u8]) -> bool) -> bool {
        // Acquire pairs with the kernel's write barrier between data and data_head: what lies
        // below head is written. Only we write tail.
        let head = self.index(DATA_HEAD).load(Ordering::Acquire);
        let mut tail = self.index(DATA_TAIL).load(Ordering::Relaxed);
        let mut sane = true;
        while tail != head {
            let written = self.written(tail, head);
            let Some(record) = written.and_then(|written| first_record(written, scratch)) else {
                tail = head;
                sane = false;
                break;
            };
            if !take(record) {
                break;
            }
            tail = tail.wrapping_add(record.len() as u64);
        }
        // Release pairs with the kernel's read of data_tail before it writes anew: all our reads
        // are done.
        self.index(DATA_TAIL).store(tail, Ordering::Release);
        sane
    }
}

impl Ring {
    /// The bytes between tail and head, in two parts if they wrap around the end. `None` if the two make no sense.
    #[inline]
    fn written(&self, tail: u64, head: u64) -> Option<(&[u8], &[u8])> {
        let (first, second) = parts(self.size, tail, head)?;
        // SAFETY: the data area begins one page into the mapping and is `size` bytes long, and both
        // parts lie within it (`parts`). They are all that lies between tail and head, where the
        // kernel does not write until we move tail (it is no overwrite ring); tail is moved after
        // the last use of these slices, which borrow `self`. Where the kernel writes meanwhile,
        // outside of that, there is no slice.
        unsafe {
            let data = self.base.add(self.page);
            let first = std::slice::from_raw_parts(data.add(first.start), first.len());
            Some((first, std::slice::from_raw_parts(data, second)))
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `open` with this length and no borrow of it is left.
        unsafe { libc::munmap(self.base.cast(), self.page + self.size) };
    }
}

/// Room for one record that wraps around the end of a ring.
pub struct Scratch(Box<[u8; RECORD_MAX]>);

impl Default for Scratch {
    fn default() -> Self {
        let bytes = vec![0; RECORD_MAX].into_boxed_slice();
        Scratch(bytes.try_into().expect("made with that length"))
    }
}

/// Where the bytes between tail and head are in a data area of `size` bytes: a range up to the end at most, and a
/// number of bytes from the beginning. `None` if that is impossible.
#[inline]
fn parts(size: usize, tail: u64, head: u64) -> Option<(Range<usize>, usize)> {
    let written = usize::try_from(head.wrapping_sub(tail)).ok().filter(|len| *len <= size)?;
    let start = to_usize(tail % size as u64);
    let first = written.min(size - start);
    start.is_multiple_of(8).then_some((start..start + first, written - first))
}

/// The first record, in one piece; `None` if it has an impossible size.
#[inline]
fn first_record<'a>(
    (first, second): (&'a [u8], &'a [u8]),
    scratch: &'a mut Scratch,
) -> Option<&'a [u8]> {
    // The header is 8 bytes and 8-aligned: it never wraps.
    let header = first.get(..HEADER)?;
    let len = usize::from(u16::from_ne_bytes([header[6], header[7]]));
    if len < HEADER || !len.is_multiple_of(8) {
        return None;
    }
    if let Some(whole) = first.get(..len) {
        return Some(whole);
    }
    let rest = second.get(..len - first.len())?;
    scratch.0[..first.len()].copy_from_slice(first);
    scratch.0[first.len()..len].copy_from_slice(rest);
    Some(&scratch.0[..len])
}

/// The CPUs that are online.
///
/// # Errors
/// If /sys does not list them.
pub fn online_cpus() -> io::Result<Vec<usize>> {
    let text = std::io::read_to_string(File::open("/sys/devices/system/cpu/online")?)?;
    let mut cpus = Vec::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bad = |_| io::Error::new(io::ErrorKind::InvalidData, "not a list of CPUs");
        cpus.extend(first.parse().map_err(bad)?..=last.parse::<usize>().map_err(bad)?);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(records: &[u16], start: usize) -> Vec<u8> {
        let mut data = vec![0; 4096];
        let mut at = start;
        for (index, &len) in records.iter().enumerate() {
            let mut bytes = vec![index as u8 + 1; usize::from(len)];
            bytes[6..8].copy_from_slice(&len.to_ne_bytes());
            for byte in bytes {
                data[at % 4096] = byte;
                at += 1;
            }
        }
        data
    }

    /// The record at `tail`, of what a ring of these bytes has up to `head`.
    fn record(data: &[u8], tail: u64, head: u64) -> Option<Vec<u8>> {
        let (first, second) = parts(data.len(), tail, head)?;
        let mut scratch = Scratch::default();
        first_record((&data[first], &data[..second]), &mut scratch).map(<[u8]>::to_vec)
    }

    #[test]
    fn a_record_that_wraps_is_put_together() {
        let data = ring(&[64, 128], 4096 - 96);
        let first = record(&data, 4000, 4192);
        assert_eq!(first.map(|record| (record.len(), record[63])), Some((64, 1)));
        let second = record(&data, 4064, 4192);
        assert_eq!(second.map(|record| (record.len(), record[127])), Some((128, 2)));
    }

    #[test]
    fn only_what_was_written_is_looked_at() {
        assert_eq!(parts(4096, 4000, 4192), Some((4000..4096, 96)));
        assert_eq!(parts(4096, 8192 + 8, 8192 + 72), Some((8..72, 0)));
        assert_eq!(parts(4096, 8, 4096 + 8), Some((8..4096, 8)), "full");
        assert_eq!(parts(4096, u64::MAX - 7, 56), Some((4088..4096, 56)), "the counters wrap");
        for (tail, head) in [(0, 4097), (8, 0), (4, 68)] {
            assert_eq!(parts(4096, tail, head), None, "{tail} {head}");
        }
    }

    #[test]
    fn a_size_that_cannot_be_is_refused() {
        for len in [0, 4, 12, 72] {
            let mut data = vec![0; 4096];
            data[6..8].copy_from_slice(&u16::to_ne_bytes(len));
            assert!(record(&data, 0, 64).is_none());
        }
        assert!(record(&[0; 4096], 0, 8192).is_none());
    }
}
