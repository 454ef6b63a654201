//! bpf(2): makes maps, loads programs, and attaches them. `cold::bpf` has the programs.
//!
//! The kernel's verifier checks each program before it runs: it cannot write to kernel memory, loop forever, or read
//! memory that is not mapped.

use super::fd::owned;
use crate::limits::sys::{PROGRAM_FUNCTIONS_MAX, PROGRAM_RELOADS, VERIFIER_LOG_BYTES};
use fsmon_format::number::to_u32;
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// `enum bpf_cmd` of linux/bpf.h.
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BTF_LOAD: libc::c_int = 18;
/// `enum bpf_map_type`
const MAP_ARRAY: u32 = 2;
const MAP_PERF_EVENT_ARRAY: u32 = 4;
const MAP_PERCPU_ARRAY: u32 = 6;
/// `map_flags`: the values can be mapped (Linux 5.5).
const MMAPABLE: u32 = 1 << 10;
/// `enum bpf_prog_type`
const PROG_TRACING: u32 = 26;

/// What a program is attached to: `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attach {
    /// A tracepoint, with typed arguments (`BPF_TRACE_RAW_TP`).
    Tracepoint = 23,
    /// The entry of a function (`BPF_TRACE_FENTRY`).
    Entry = 24,
}

/// `struct bpf_insn`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Insn {
    pub(crate) code: u8,
    /// Destination in the low four bits, source in the high ones.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// `union bpf_attr` for `BPF_MAP_CREATE`.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// For `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
#[derive(Default)]
struct MapUpdate {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// For `BPF_PROG_LOAD`: the fields up to `core_relo_cnt`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    insn_count: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
    /// The BTF of the program itself, and its functions: [`FuncInfo`].
    own_btf: u32,
    func_info_size: u32,
    func_info: u64,
    func_info_count: u32,
    /// Line information, which the programs do not have.
    lines: [u32; 4],
    attach_btf_id: u32,
    /// `attach_prog_fd` and `core_relo_cnt`. Without these fields the compiler would pad the end of the struct with
    /// bytes that need not be zero, and the kernel reads the whole struct.
    pad: [u32; 2],
}

const _: () = assert!(std::mem::offset_of!(ProgLoad, func_info) == 80);
const _: () = assert!(std::mem::offset_of!(ProgLoad, attach_btf_id) == 108);
const _: () = assert!(size_of::<ProgLoad>() == 108 + 3 * size_of::<u32>());

/// `struct bpf_func_info`: the instruction at which a function begins, and the id of its type.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FuncInfo {
    insn: u32,
    type_id: u32,
}

/// For `BPF_BTF_LOAD`.
#[repr(C)]
#[derive(Default)]
struct BtfLoad {
    btf: u64,
    log: u64,
    btf_size: u32,
    log_size: u32,
    log_level: u32,
    pad: u32,
}

/// Types (BTF) for the functions of a program. The kernel requires them if a program passes one of its functions to a
/// helper. All functions have the same type: `int name()`.
pub(crate) struct FunctionTypes(OwnedFd);

/// Id of the function's type in [`FunctionTypes`].
const FUNCTION_TYPE: u32 = 3;

impl FunctionTypes {
    /// Loads the types into the kernel. The format is in Documentation/bpf/btf.rst.
    pub(crate) fn new() -> io::Result<Self> {
        const STRINGS: &[u8] = b"\0int\0step\0";
        const TYPES: [u32; 10] = [
            // Type 1: int, 4 bytes, signed, 32 bits.
            1,
            1 << 24,
            4,
            1 << 24 | 32,
            // Type 2: a function without parameters that returns type 1.
            0,
            13 << 24,
            1,
            // Type 3: a static function of type 2, with a name.
            5,
            12 << 24,
            2,
        ];
        let types = TYPES.map(u32::to_ne_bytes).concat();
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let (types_len, strings_len) = (to_u32(types.len()), to_u32(STRINGS.len()));
        for number in [24, 0, types_len, types_len, strings_len] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend(STRINGS);
        let (btf, btf_size) = (bytes.as_ptr() as u64, to_u32(bytes.len()));
        Ok(FunctionTypes(bpf_fd(BTF_LOAD, &mut BtfLoad { btf, btf_size, ..BtfLoad::default() })?))
    }
}

/// For `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
#[derive(Default)]
struct Open {
    name: u64,
    program: u32,
    pad: u32,
}

/// For `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
#[derive(Default)]
struct GetInfo {
    fd: u32,
    len: u32,
    info: u64,
}

/// Bytes of `struct bpf_prog_info` up to and including `recursion_misses` (Linux 5.12), and the offset of that field.
const INFO_BYTES: usize = 216;
const RECURSION_MISSES: usize = 208;

fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a repr(C) prefix of `union bpf_attr`, valid for the call, and has the size that is passed. The
    // kernel takes the rest of the union as zero. Pointers in `attr` were made from slices that outlive the call (each
    // caller below ensures this).
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}

fn bpf_fd<T>(command: libc::c_int, attr: &mut T) -> io::Result<OwnedFd> {
    owned(bpf(command, attr)?)
}

/// Maps the kernel's description of its types, a file below /sys/kernel/btf.
///
/// # Errors
/// ENODEV before Linux 6.16.
pub(crate) fn map_description(file: &File) -> io::Result<Mmap> {
    // SAFETY: what is mapped must not change. This is memory of the kernel that nobody writes to, and the file cannot
    // be cut. The kernel refuses a shared mapping.
    unsafe { MmapOptions::new().map_copy_read_only(file) }
}

/// Makes a map from CPU to perf ring.
pub(crate) fn ring_map(cpus: u32) -> io::Result<OwnedFd> {
    let kind = MAP_PERF_EVENT_ARRAY;
    bpf_fd(
        MAP_CREATE,
        &mut MapCreate { kind, key_size: 4, value_size: 4, max_entries: cpus, flags: 0 },
    )
}

/// Puts the perf event `ring` into the slot of its CPU.
pub(crate) fn set_ring(map: BorrowedFd<'_>, cpu: u32, ring: BorrowedFd<'_>) -> io::Result<()> {
    let value = ring.as_raw_fd().cast_unsigned();
    let mut attr = MapUpdate {
        map: map.as_raw_fd().cast_unsigned(),
        key: std::ptr::from_ref(&cpu) as u64,
        value: std::ptr::from_ref(&value) as u64,
        ..MapUpdate::default()
    };
    bpf(MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Makes a map with `size` bytes for each CPU. Programs build messages in it that are too large for their stack.
pub(crate) fn scratch_map(size: u32) -> io::Result<OwnedFd> {
    one_value(MAP_PERCPU_ARRAY, size)
}

/// Makes a map with `size` bytes that all programs share.
pub(crate) fn shared_map(size: u32) -> io::Result<OwnedFd> {
    one_value(MAP_ARRAY, size)
}

fn one_value(kind: u32, value_size: u32) -> io::Result<OwnedFd> {
    let mut attr = MapCreate { kind, key_size: 4, value_size, max_entries: 1, flags: 0 };
    bpf_fd(MAP_CREATE, &mut attr)
}

/// Numbers in memory that fsmon shares with the BPF programs.
pub(crate) struct Globals {
    fd: OwnedFd,
    base: *mut u8,
    len: usize,
    count: usize,
}

// SAFETY: only this value has the mapping, which is not tied to a thread and is accessed only through atomics.
unsafe impl Send for Globals {}
// SAFETY: as above; shared access is atomic.
unsafe impl Sync for Globals {}

impl Globals {
    /// Makes `count` numbers of 64 bits, all 0.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let value_size = u32::try_from(count * size_of::<u64>()).map_err(io::Error::other)?;
        let fd = bpf_fd(
            MAP_CREATE,
            &mut MapCreate {
                kind: MAP_ARRAY,
                key_size: 4,
                value_size,
                max_entries: 1,
                flags: MMAPABLE,
            },
        )?;
        let len = value_size as usize;
        // SAFETY: a new shared mapping of our own descriptor, at an address that the kernel chooses. The kernel rounds
        // the length up to a page, and the map is at least as long.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Globals { fd, base: base.cast(), len, count })
    }

    /// The map, for use in programs.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.fd.as_fd()
    }

    fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.count);
        // SAFETY: the number is within the mapping (just checked), which lives as long as `self`. The mapping is
        // page-aligned, so each number is 8-aligned. The programs access each number as a single 64-bit word.
        unsafe { AtomicU64::from_ptr(self.base.cast::<u64>().add(index)) }
    }

    /// Reads a number.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.at(index).load(Ordering::Acquire)
    }

    /// Writes a number.
    pub(crate) fn set(&self, index: usize, value: u64) {
        self.at(index).store(value, Ordering::Release);
    }
}

impl Drop for Globals {
    fn drop(&mut self) {
        // SAFETY: `new` made the mapping with this length, and no borrow of it is left.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// A program for a tracepoint or function.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) insns: &'a [Insn],
    /// The instructions at which its functions after the first begin.
    pub(crate) functions: &'a [usize],
    pub(crate) attach: Attach,
    /// Id of the tracepoint or function in the kernel's type information.
    pub(crate) btf_id: u32,
}

/// Loads a program. If the verifier refuses it, the error has the last line of the verifier's log.
pub(crate) fn load(source: Source<'_>) -> io::Result<OwnedFd> {
    with_attr(source, |attr| {
        let refused = match patiently(attr) {
            Err(error) => error,
            Ok(program) => return Ok(program),
        };
        let (loaded, text) = logged(attr, 1, VERIFIER_LOG_BYTES);
        if loaded.is_ok() {
            return loaded;
        }
        let last = text.lines().rev().find(|line| !line.starts_with("processed"));
        // If the log is empty, it was not the verifier that refused the program. Then only the errno is known.
        let Some(last) = last else { return Err(refused) };
        Err(io::Error::new(refused.kind(), format!("{}: {last}: {refused}", source.name)))
    })
}

/// What the verifier says of a program that it accepts: each instruction that it looks at, and their number.
#[cfg(test)]
pub(crate) fn verified(source: Source<'_>) -> io::Result<String> {
    with_attr(source, |attr| {
        let (loaded, text) = logged(attr, 2, 16 * VERIFIER_LOG_BYTES);
        loaded.map(|_| text)
    })
}

/// Calls `call` with what the kernel needs to load a program.
fn with_attr<T>(
    source: Source<'_>,
    call: impl FnOnce(&mut ProgLoad) -> io::Result<T>,
) -> io::Result<T> {
    let Source { name, insns, functions, attach, btf_id } = source;
    let mut infos = [FuncInfo { insn: 0, type_id: FUNCTION_TYPE }; PROGRAM_FUNCTIONS_MAX];
    for (info, at) in infos[1..].iter_mut().zip(functions) {
        info.insn = to_u32(*at);
    }
    let types = if functions.is_empty() { None } else { Some(FunctionTypes::new()?) };
    let mut attr = ProgLoad {
        kind: PROG_TRACING,
        insn_count: to_u32(insns.len()),
        insns: insns.as_ptr() as u64,
        // Only programs under the GPL may call some helpers. Ours are available under the GPL, too.
        license: c"Dual MIT/GPL".as_ptr() as u64,
        attach_type: attach as u32,
        attach_btf_id: btf_id,
        ..ProgLoad::default()
    };
    if let Some(types) = &types {
        attr.own_btf = types.0.as_raw_fd().cast_unsigned();
        attr.func_info_size = const { to_u32(size_of::<FuncInfo>()) };
        attr.func_info = infos.as_ptr() as u64;
        attr.func_info_count = to_u32(1 + functions.len().min(PROGRAM_FUNCTIONS_MAX - 1));
    }
    let len = name.len().min(attr.name.len() - 1);
    attr.name[..len].copy_from_slice(&name.as_bytes()[..len]);
    // `types` may be closed after this: the kernel keeps them as long as the program.
    call(&mut attr)
}

/// Loads a program with a log of at most `bytes` bytes. `level` is a `log_level` of bpf(2).
fn logged(attr: &mut ProgLoad, level: u32, bytes: usize) -> (io::Result<OwnedFd>, String) {
    let mut log = vec![0u8; bytes];
    (attr.log, attr.log_size, attr.log_level) = (log.as_mut_ptr() as u64, to_u32(bytes), level);
    let loaded = patiently(attr);
    let len = memchr::memchr(0, &log).unwrap_or(0);
    (loaded, String::from_utf8_lossy(&log[..len]).into_owned())
}

/// Loads a program, and tries again if the verifier was interrupted: it returns EAGAIN for a signal, and for other work
/// of the task, for example of io_uring (`do_check()` in kernel/bpf/verifier.c).
fn patiently(attr: &mut ProgLoad) -> io::Result<OwnedFd> {
    let mut result = bpf_fd(PROG_LOAD, attr);
    for _ in 0..PROGRAM_RELOADS {
        match &result {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                result = bpf_fd(PROG_LOAD, attr);
            }
            _ => break,
        }
    }
    result
}

/// Attaches a program until the returned descriptor is closed.
pub(crate) fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = Open { program: program.as_raw_fd().cast_unsigned(), ..Open::default() };
    bpf_fd(RAW_TRACEPOINT_OPEN, &mut attr)
}

/// How often the kernel did not run a program because it was already running on that CPU.
pub(crate) fn misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = [0u8; INFO_BYTES];
    let mut attr = GetInfo {
        fd: program.as_raw_fd().cast_unsigned(),
        len: const { to_u32(INFO_BYTES) },
        info: info.as_mut_ptr() as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    let misses = info[RECURSION_MISSES..].first_chunk().expect("the constants fit");
    Ok(u64::from_ne_bytes(*misses))
}
