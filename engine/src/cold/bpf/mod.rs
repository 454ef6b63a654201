//! The best source of attribution: BPF programs that send a message for each change of a process, with its position
//! in the queue of file events.
//!
//! No compiler is needed, neither when fsmon is built nor when it runs: the programs are assembled at the start, by
//! the kernel's description of its own structures.

mod asm;
mod btf;
mod layout;
mod look;
mod path;
mod programs;
#[cfg(test)]
mod verifier_test;

use crate::hot::who::counted::{Counted, ExecDetails};
use crate::limits::start as limits;
use crate::sys::bpf::{self, Globals};
use crate::sys::gauge::global;
use crate::sys::perf::Ring;
use crate::sys::thread;
use btf::Btf;
use layout::Files;
pub(crate) use programs::WantedDetails;
use programs::{Maps, Program, Programs};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// Loads the programs and attaches them, until the result is dropped.
///
/// `group` must not have a mark yet: its events are counted from the first one on. `connector` is a socket that
/// gets changes of credentials, and `rings` are the perf rings of `cpus`.
///
/// # Errors
/// PermissionDenied without CAP_BPF and CAP_PERFMON; NotFound if the kernel lacks a part; or the error of the
/// verifier. No program stays attached then.
pub(crate) fn attach(
    group: BorrowedFd<'_>,
    connector: BorrowedFd<'_>,
    cpus: &[usize],
    rings: &[Ring],
    wanted: WantedDetails,
) -> io::Result<Counted> {
    if !cfg!(target_arch = "x86_64") {
        // On other architectures stores may be reordered, and this was never tried.
        return Err(io::Error::new(io::ErrorKind::Unsupported, "made for x86-64 alone"));
    }
    let description = btf::read()?;
    let btf = Btf::of(&description)?;
    // The kernel gave these numbers.
    let number = |cpu: usize| u32::try_from(cpu).map_err(io::Error::other);
    let maps = OwnMaps::new(number(cpus.iter().max().map_or(0, |&last| last + 1))?)?;
    for (&cpu, ring) in cpus.iter().zip(rings) {
        bpf::set_ring(maps.rings.as_fd(), number(cpu)?, ring.as_fd())?;
    }
    let globals = Arc::clone(&maps.globals);
    let programs = Programs::new(&btf, maps.borrowed(), wanted)?;
    let seeker = Seeker::new(Arc::clone(&globals), &programs.seek()?)?;
    let member = programs.layout.private_data;
    globals.set(global::GROUP, seeker.find(group.as_raw_fd(), member, 0)?);
    let sock = seeker.find(connector.as_raw_fd(), member, programs.socket_to_sock()?)?;
    globals.set(global::SOCK, sock);
    if let Some(files) = &programs.layout.files {
        find_root(&seeker, files)?;
    }
    let mut kept = Vec::new();
    let measure = programs.measure().and_then(|program| load(&program));
    // Without it everything else works.
    let mut links: Vec<_> =
        measure.and_then(|loaded| bpf::attach(loaded.as_fd())).into_iter().collect();
    let measures_queue = !links.is_empty();
    for program in programs.senders()? {
        let loaded = load(&program)?;
        links.push(bpf::attach(loaded.as_fd())?);
        // The kernel's count for a shared program includes other sockets; its link keeps it loaded.
        if !program.shared {
            kept.push(loaded);
        }
    }
    let exec_details = ExecDetails {
        args: wanted.cmdline,
        path: programs.layout.files.is_some(),
        exec_begins: programs.sends_exec_begins(),
    };
    // The kernel removes the rings from their map when the descriptor that added them is closed.
    links.push(maps.rings);
    Ok(Counted::new(globals, kept, links, (exec_details, measures_queue)))
}

fn load(program: &Program) -> io::Result<OwnedFd> {
    bpf::load(program.source())
}

/// The maps that the programs use.
struct OwnMaps {
    globals: Arc<Globals>,
    rings: OwnedFd,
    scratch: OwnedFd,
    pause: OwnedFd,
}

impl OwnMaps {
    /// With room for the rings of `cpus` CPUs.
    fn new(cpus: u32) -> io::Result<Self> {
        Ok(OwnMaps {
            globals: Arc::new(Globals::new(global::COUNT)?),
            rings: bpf::ring_map(cpus)?,
            scratch: bpf::scratch_map(limits::PAUSE_BYTES)?,
            pause: bpf::shared_map(limits::LONG_PAUSE_BYTES)?,
        })
    }

    fn borrowed(&self) -> Maps<'_> {
        Maps {
            globals: self.globals.fd(),
            rings: self.rings.as_fd(),
            scratch: self.scratch.as_fd(),
            pause: self.pause.as_fd(),
        }
    }
}

/// Sets where our root is, for the programs.
fn find_root(seeker: &Seeker, files: &Files) -> io::Result<()> {
    let root = File::open("/")?;
    let (fd, path) = (root.as_raw_fd(), files.f_path);
    let to_namespace = u64::try_from(files.mnt_ns - files.vfsmount);
    let to_namespace =
        to_namespace.map_err(|_| io::Error::other("mounts are laid out otherwise"))?;
    let globals = &seeker.globals;
    globals.set(global::ROOT_MNT, seeker.find(fd, path, 0)?);
    globals.set(global::ROOT_DENTRY, seeker.find(fd, path + 8, 0)?);
    globals.set(global::ROOT_NS, seeker.find(fd, path, to_namespace)?);
    Ok(())
}

/// Finds the kernel addresses of objects behind our descriptors.
struct Seeker {
    globals: Arc<Globals>,
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Seeker {
    fn new(globals: Arc<Globals>, program: &Program) -> io::Result<Self> {
        let program = load(program)?;
        let link = bpf::attach(program.as_fd())?;
        Ok(Seeker { globals, _program: program, _link: link })
    }

    /// The address in member `member` of the `struct file` of `fd`; if `into` is not 0, the address that is stored
    /// `into` bytes behind that one.
    fn find(&self, fd: RawFd, member: i16, into: u64) -> io::Result<u64> {
        let globals = &self.globals;
        globals.set(global::SOUGHT, 0);
        globals.set(global::SEEK_AT, u64::from(fd.cast_unsigned()) * size_of::<u64>() as u64);
        globals.set(global::SEEK_MEMBER, u64::from(member.unsigned_abs()));
        globals.set(global::SEEK_INTO, into);
        globals.set(global::SEEKER, thread::pid_and_tid());
        thread::rename_to_same()?;
        globals.set(global::SEEKER, 0);
        match globals.get(global::SOUGHT) {
            0 => Err(io::Error::other("our own descriptors were not found in the kernel")),
            found => Ok(found),
        }
    }
}
