//! The programs that run in the kernel and send messages about processes, on tracepoints only.
//!
//! Each message has the whole identity of the process, and the position in the queue of file events: the number of
//! reads that had been made of the queue, and its length. This gives the number of events queued before the
//! message. A thread queues its events and sends its messages itself, so for an event and a change of one process
//! the order is known without comparing times. `look` describes how a program finds the position.

use super::asm::{
    Asm, Code, Helper, If, Label, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Reg, STACK, Size, Step,
    immediate, offset,
};
use super::btf::{Btf, Member};
use super::layout::KernelLayout;
use super::look::{COUNT, MESSAGE, READS, READS_AFTER, ROOM, SETTLED, SNAPSHOT, TURN, TURN_AFTER};
use crate::hot::who::bpf_record::{self as record, kind};
use crate::limits::start::{POSITION_LOOKS, POSITION_LOOKS_AGAIN, POSITION_LOOKS_BRIEF};
use crate::sys::bpf::{Attach, Source};
use crate::sys::gauge::global;
use fsmon_format::number::to_u32;
use std::io;
use std::os::fd::BorrowedFd;

/// `BPF_F_CURRENT_CPU`
const CURRENT_CPU: u32 = u32::MAX;

/// Maps that the programs use.
#[derive(Clone, Copy)]
pub(super) struct Maps<'a> {
    pub(super) globals: BorrowedFd<'a>,
    pub(super) rings: BorrowedFd<'a>,
    pub(super) scratch: BorrowedFd<'a>,
    pub(super) pause: BorrowedFd<'a>,
}

/// A program, and where it is attached.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) code: Code,
    pub(super) attach: Attach,
    pub(super) target: u32,
    /// Whether it also runs for other sockets, and in interrupts. If it interrupts another run on the same CPU, the
    /// kernel skips it and counts that, but there was nothing to report.
    pub(super) shared: bool,
}

impl Program {
    /// As [`crate::sys::bpf`] loads it.
    pub(super) fn source(&self) -> Source<'_> {
        let Program { name, code: Code { insns, functions }, attach, target, .. } = self;
        Source { name, insns, functions, attach: *attach, btf_id: *target }
    }
}

/// Assembles programs for the running kernel.
pub(super) struct Programs<'a> {
    btf: &'a Btf<'a>,
    pub(super) layout: KernelLayout,
    pub(super) maps: Maps<'a>,
    wanted: WantedDetails,
    distrust: Option<Distrust>,
}

/// What makes a pointer to a task one that the verifier does not trust, from Linux 6.2 on.
///
/// When a program loads a pointer through one that the verifier trusts, the verifier searches all types of the kernel
/// for a name, up to four times (`btf_nested_type_is_trusted()` in kernel/bpf/btf.c). On Linux 6.18 that takes a
/// millisecond for each such load on each path, which was nine tenths of the time to load all programs. For a pointer
/// that it does not trust it does not search. The programs only read, and what they read through such a pointer is
/// zero if the address is not readable.
#[derive(Clone, Copy)]
struct Distrust {
    /// Id of `bpf_rdonly_cast()`, which the verifier replaces by a move.
    cast: u32,
    /// Id of `struct task_struct`.
    task: u32,
}

impl Distrust {
    fn of(btf: &Btf<'_>) -> io::Result<Self> {
        Ok(Distrust { cast: btf.function("bpf_rdonly_cast")?, task: btf.structure("task_struct")? })
    }
}

/// What the program at exec sends besides who the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WantedDetails {
    /// The arguments given to exec.
    pub(crate) cmdline: bool,
    /// The path of the executable file, if the layout of the kernel's structures is known.
    pub(crate) path: bool,
}

impl<'a> Programs<'a> {
    /// # Errors
    /// NotFound: the kernel lacks a part that all programs need.
    pub(super) fn new(btf: &'a Btf<'a>, maps: Maps<'a>, wanted: WantedDetails) -> io::Result<Self> {
        let mut layout = KernelLayout::of(btf)?;
        layout.files = layout.files.filter(|_| wanted.path);
        Ok(Programs { btf, layout, maps, wanted, distrust: Distrust::of(btf).ok() })
    }

    /// Whether the beginning of an exec is reported, too, which is needed if /proc is read.
    pub(super) fn sends_exec_begins(&self) -> bool {
        self.wanted.cmdline && self.layout.in_exec.is_some()
    }

    /// Offset in a socket of the `struct sock` that its tracepoints get.
    pub(super) fn socket_to_sock(&self) -> io::Result<u64> {
        let member = self.btf.member("socket", "sk")?;
        u64::try_from(member.offset).map_err(io::Error::other)
    }

    /// Finds the object behind a descriptor of the seeker, on task_rename(task, comm), which the seeker triggers
    /// itself.
    pub(super) fn seek(&self) -> io::Result<Program> {
        let layout = &self.layout;
        let (mut asm, skip) = self.begin(0);
        asm.map_value(R7, self.maps.globals);
        asm.call(Helper::GetCurrentPidTgid);
        asm.load(Size::Double, R1, R7, word(global::SEEKER));
        asm.jump_if_register(If::NotEqual, R0, R1, skip);
        asm.load(Size::Double, R9, R8, layout.open_files);
        asm.load(Size::Double, R9, R9, layout.fdt);
        asm.load(Size::Double, R9, R9, layout.fds);
        asm.load(Size::Double, R1, R7, word(global::SEEK_AT));
        asm.add_register(R9, R1);
        self.peek(&mut asm, STACK, TURN, 8, R9, 0);
        asm.load(Size::Double, R9, STACK, TURN);
        asm.load(Size::Double, R1, R7, word(global::SEEK_MEMBER));
        asm.add_register(R9, R1);
        self.peek(&mut asm, STACK, TURN, 8, R9, 0);
        asm.load(Size::Double, R9, STACK, TURN);
        let found = asm.label();
        asm.load(Size::Double, R1, R7, word(global::SEEK_INTO));
        asm.jump_if(If::Equal, R1, 0, found);
        asm.add_register(R9, R1);
        self.peek(&mut asm, STACK, TURN, 8, R9, 0);
        asm.load(Size::Double, R9, STACK, TURN);
        asm.put(found);
        asm.store(Size::Double, R7, word(global::SOUGHT), R9);
        self.tracepoint("fsmon_seek", "task_rename", asm, skip)
    }

    /// Says how many events wait in the queue, on task_rename(task, comm) of the thread that asks. A plain read of a
    /// number, without the lock of the queue: a process that queues an event never waits for it.
    pub(super) fn measure(&self) -> io::Result<Program> {
        let (mut asm, skip) = self.begin(0);
        asm.map_value(R7, self.maps.globals);
        asm.call(Helper::GetCurrentPidTgid);
        asm.load(Size::Double, R1, R7, word(global::MEASURER));
        asm.jump_if_register(If::NotEqual, R0, R1, skip);
        asm.store_number(Size::Double, STACK, TURN, 0);
        asm.load(Size::Double, R9, R7, word(global::GROUP));
        self.peek(&mut asm, STACK, TURN, 4, R9, self.layout.queue.length);
        asm.load(Size::Word, R1, STACK, TURN);
        asm.store(Size::Double, R7, word(global::LENGTH), R1);
        self.tracepoint("fsmon_measure", "task_rename", asm, skip)
    }

    /// The programs that send messages.
    pub(super) fn senders(&self) -> io::Result<Vec<Program>> {
        let mut programs =
            vec![self.fork()?, self.exec()?, self.exit()?, self.rename()?, self.credentials()?];
        // Without control groups this tracepoint does not exist.
        programs.extend(self.cgroup().ok());
        Ok(programs)
    }

    /// sched_process_fork(parent, child): before the child runs.
    fn fork(&self) -> io::Result<Program> {
        let (mut asm, skip) = self.begin(8);
        self.skip_threads(&mut asm, skip);
        self.identity(&mut asm, kind::FORK, skip);
        asm.load(Size::Double, R1, R6, 0);
        asm.load(Size::Word, R1, R1, self.layout.tgid);
        asm.store(Size::Word, R9, offset(record::CALLER), R1);
        self.send(&mut asm, record::LEN);
        self.tracepoint("fsmon_fork", "sched_process_fork", asm, skip)
    }

    /// sched_process_exec(task, old_pid, bprm): once nothing can fail any more.
    fn exec(&self) -> io::Result<Program> {
        let (mut asm, skip) = self.begin(0);
        self.change(&mut asm, kind::EXEC, skip);
        asm.copy(R1, R9);
        asm.add(R1, immediate(record::EXE));
        asm.set(R2, const { to_u32(record::EXE_MAX) });
        asm.load(Size::Double, R3, R6, 16);
        asm.load(Size::Double, R3, R3, self.layout.filename);
        asm.call(Helper::ProbeReadKernelStr);
        let known = asm.label();
        // A negative number, an error, is larger than any length, as the comparison is unsigned.
        asm.jump_if(If::AtMost, R0, immediate(record::EXE_MAX), known);
        asm.store_number(Size::Byte, R9, offset(record::EXE), 0);
        asm.set(R0, 1);
        asm.put(known);
        asm.copy(R7, R0);
        asm.add(R7, immediate(record::EXE));
        if self.wanted.cmdline {
            self.arguments(&mut asm);
        }
        if let Some(files) = &self.layout.files {
            self.path(&mut asm, files);
        }
        asm.copy(R5, R7);
        self.output(&mut asm);
        self.tracepoint("fsmon_exec", "sched_process_exec", asm, skip)
    }

    /// Adds the arguments to the message at R9, after its R7 bytes so far. The task at R8 is the current one, its
    /// new memory is in place, and its code has not run yet, so they are as given to exec. They were just written:
    /// if they cannot be read they are swapped out, and left out.
    fn arguments(&self, asm: &mut Asm) {
        let read = asm.label();
        asm.load(Size::Double, R2, R8, self.layout.mm);
        asm.load(Size::Double, R3, R2, self.layout.arg_start);
        asm.load(Size::Double, R1, R2, self.layout.arg_end);
        asm.subtract(R1, R3);
        asm.store(Size::Word, R9, offset(record::ARGS_LEN), R1);
        asm.copy(R8, R1);
        asm.at_most(R8, const { to_u32(record::ARGS_MAX) });
        asm.copy(R2, R8);
        asm.copy(R1, R9);
        asm.add_register(R1, R7);
        asm.call(Helper::ProbeReadUser);
        asm.jump_if(If::Equal, R0, 0, read);
        asm.set(R8, 0);
        asm.store_number(Size::Word, R9, offset(record::ARGS_LEN), 0);
        asm.put(read);
        asm.add_register(R7, R8);
    }

    /// sched_process_exit(task, ...): the last thread's, before it closes its files.
    fn exit(&self) -> io::Result<Program> {
        let (mut asm, skip) = self.begin(0);
        asm.load(Size::Double, R1, R8, self.layout.signal);
        asm.load(Size::Word, R1, R1, self.layout.live);
        asm.jump_if(If::NotEqual, R1, 0, skip);
        self.identity(&mut asm, kind::EXIT, skip);
        self.send(&mut asm, record::LEN);
        self.tracepoint("fsmon_exit", "sched_process_exit", asm, skip)
    }

    /// task_rename(task, comm): before it takes effect. During an exec it comes before the new arguments are
    /// visible (begin_new_exec() in fs/exec.c).
    fn rename(&self) -> io::Result<Program> {
        let (mut asm, skip) = self.begin(0);
        self.skip_threads(&mut asm, skip);
        if self.sends_exec_begins() {
            let other = asm.label();
            self.unless_in_exec(&mut asm, other);
            self.identity(&mut asm, kind::EXEC_BEGINS, skip);
            self.send(&mut asm, record::LEN);
            asm.jump(skip);
            asm.put(other);
        } else {
            self.skip_exec(&mut asm, skip);
        }
        self.change(&mut asm, kind::COMM, skip);
        asm.copy(R1, R9);
        asm.add(R1, immediate(record::COMM));
        asm.set(R2, const { to_u32(record::COMM_LEN) });
        asm.load(Size::Double, R3, R6, 8);
        asm.call(Helper::ProbeReadKernelStr);
        self.caller(&mut asm);
        self.send(&mut asm, record::EXE);
        self.tracepoint("fsmon_rename", "task_rename", asm, skip)
    }

    /// cgroup_attach_task(group, path, task, whole): after it took effect, in the context of the process that moves
    /// the task.
    fn cgroup(&self) -> io::Result<Program> {
        let (mut asm, skip) = self.begin(16);
        self.skip_threads(&mut asm, skip);
        self.change(&mut asm, kind::CGROUP, skip);
        self.caller(&mut asm);
        self.send(&mut asm, record::EXE);
        self.tracepoint("fsmon_cgroup", "cgroup_attach_task", asm, skip)
    }

    /// sk_data_ready(sock), for our socket: the kernel sends it changed credentials in the context of the changed
    /// process (proc_id_connector() in kernel/cred.c), after they took effect.
    fn credentials(&self) -> io::Result<Program> {
        if self.btf.tracepoint("sk_data_ready").is_err() {
            return self.credentials_at_entry();
        }
        let mut asm = Asm::default();
        let skip = asm.label();
        asm.copy(R6, R1);
        asm.load(Size::Double, R1, R6, 0);
        asm.map_value(R2, self.maps.globals);
        asm.load(Size::Double, R2, R2, word(global::SOCK));
        asm.jump_if_register(If::NotEqual, R1, R2, skip);
        asm.call(Helper::GetCurrentTask);
        asm.copy(R8, R0);
        self.distrust(&mut asm);
        self.skip_threads(&mut asm, skip);
        self.skip_exec(&mut asm, skip);
        self.change(&mut asm, kind::CRED, skip);
        self.send(&mut asm, record::EXE);
        let program = self.tracepoint("fsmon_cred", "sk_data_ready", asm, skip)?;
        Ok(Program { shared: true, ..program })
    }

    /// commit_creds(new), before it takes effect: for kernels before Linux 6.3, which lack the tracepoint. This
    /// program can be preempted, so it does not use the scratch room, and has no witnesses.
    fn credentials_at_entry(&self) -> io::Result<Program> {
        let mut asm = Asm::default();
        let (skip, differs) = (asm.label(), asm.label());
        asm.copy(R6, R1);
        asm.call(Helper::GetCurrentTask);
        asm.copy(R8, R0);
        self.distrust(&mut asm);
        asm.load(Size::Double, R1, R6, 0);
        asm.load(Size::Double, R2, R8, self.layout.cred);
        for id in [self.layout.euid, self.layout.egid] {
            asm.load(Size::Word, R3, R1, id);
            asm.load(Size::Word, R4, R2, id);
            asm.jump_if_register(If::NotEqual, R3, R4, differs);
        }
        asm.jump(skip);
        asm.put(differs);
        self.skip_threads(&mut asm, skip);
        // Also called at each exec, which has its own message.
        self.skip_exec(&mut asm, skip);
        self.identity(&mut asm, kind::CRED, skip);
        asm.load(Size::Double, R1, R6, 0);
        self.users(&mut asm, R1);
        self.send(&mut asm, record::LEN);
        let target = self.btf.function("commit_creds")?;
        let (name, attach) = ("fsmon_cred", Attach::Entry);
        Ok(Program { name, code: self.end(asm, skip), attach, target, shared: false })
    }

    fn tracepoint(
        &self,
        name: &'static str,
        tracepoint: &str,
        asm: Asm,
        skip: Label,
    ) -> io::Result<Program> {
        let target = self.btf.tracepoint(tracepoint)?;
        let attach = Attach::Tracepoint;
        Ok(Program { name, code: self.end(asm, skip), attach, target, shared: false })
    }

    /// Places `skip`, and adds the functions that the program repeats.
    fn end(&self, mut asm: Asm, skip: Label) -> Code {
        asm.put(skip);
        asm.leave(0);
        while let Some(step) = asm.begin_step(R6) {
            match (step, &self.layout.files) {
                (Step::Look(pauses), _) => self.look_step(&mut asm, pauses),
                (Step::Patient, _) => self.patient_step(&mut asm),
                (Step::Witness, _) => self.witness_step(&mut asm),
                (Step::Path, Some(files)) => self.path_step(&mut asm, files),
                (Step::Path, None) => unreachable!("named by `path` alone"),
            }
        }
        asm.end()
    }

    /// R6: the arguments. R8: the task, the argument at that offset.
    fn begin(&self, task: i16) -> (Asm, Label) {
        let mut asm = Asm::default();
        let skip = asm.label();
        asm.copy(R6, R1);
        self.task(&mut asm, task);
        (asm, skip)
    }

    /// R8: the task, the argument at that offset. R6: the arguments. Uses R0 to R5.
    pub(super) fn task(&self, asm: &mut Asm, at: i16) {
        asm.load(Size::Double, R8, R6, at);
        self.distrust(asm);
    }

    /// Makes the pointer to a task at R8 one that the verifier does not trust. Uses R0 to R5.
    fn distrust(&self, asm: &mut Asm) {
        if let Some(Distrust { cast, task }) = self.distrust {
            asm.copy(R1, R8);
            asm.set(R2, task);
            asm.call_kernel(cast);
            asm.copy(R8, R0);
        }
    }

    /// Only the thread that leads a process reports for it.
    fn skip_threads(&self, asm: &mut Asm, skip: Label) {
        asm.load(Size::Word, R1, R8, self.layout.pid);
        asm.load(Size::Word, R2, R8, self.layout.tgid);
        asm.jump_if_register(If::NotEqual, R1, R2, skip);
    }

    /// A change during an exec is reported with the end of the exec.
    fn skip_exec(&self, asm: &mut Asm, skip: Label) {
        if let Some(Member { offset, bit }) = self.layout.in_exec {
            asm.load(Size::Byte, R1, R8, offset);
            asm.jump_if(If::Any, R1, 1 << bit, skip);
        }
    }

    /// Goes to `other` if no exec is in progress.
    fn unless_in_exec(&self, asm: &mut Asm, other: Label) {
        let within = asm.label();
        self.skip_exec(asm, within);
        asm.jump(other);
        asm.put(within);
    }

    /// Begins the message of a fork, an exit or the beginning of an exec, on the stack. It needs no witnesses, as
    /// the kernel merges only events of one process. The position is not needed for an exit or the beginning of an
    /// exec.
    fn identity(&self, asm: &mut Asm, kind: u32, skip: Label) {
        let done = asm.label();
        if kind == kind::EXIT || kind == kind::EXEC_BEGINS {
            asm.map_value(R7, self.maps.globals);
            self.look(asm, done);
        } else {
            self.find_room(asm, skip);
            self.look_long(asm, &POSITION_LOOKS, true, done);
        }
        asm.store_number(Size::Double, STACK, SETTLED, 0);
        asm.put(done);
        asm.copy(R9, STACK);
        asm.add(R9, MESSAGE);
        asm.store_number(Size::Word, R9, COUNT, 0);
        self.fill(asm, kind);
    }

    /// Begins the message of a change, in the scratch room. No other program uses it meanwhile, as tracepoints run
    /// without preemption, and none of these in an interrupt.
    fn change(&self, asm: &mut Asm, kind: u32, skip: Label) {
        self.find_room(asm, skip);
        let seen = asm.label();
        // Control groups are changed with interrupts off.
        let patient = kind != kind::CGROUP;
        let (long, again): (&[_], &[_]) = match patient {
            true => (&POSITION_LOOKS, &POSITION_LOOKS_AGAIN),
            false => (&POSITION_LOOKS_BRIEF, &POSITION_LOOKS_BRIEF),
        };
        for looks in [long, again] {
            let done = asm.label();
            self.look_long(asm, looks, patient, done);
            asm.store_number(Size::Double, STACK, SETTLED, 0);
            asm.put(done);
            asm.load(Size::Double, R9, STACK, ROOM);
            self.witnesses(asm, seen);
        }
        // Events that are taken during a walk may be freed already.
        asm.store_number(Size::Word, R9, COUNT, 0);
        asm.put(seen);
        self.fill(asm, kind);
    }

    /// The message at R9, of the task at R8.
    fn fill(&self, asm: &mut Asm, kind: u32) {
        // The time comes first: values read after it may be newer than the time, but never older, so this message
        // does not undo one that another task sends meanwhile.
        asm.call(Helper::KtimeGetNs);
        asm.store(Size::Double, R9, offset(record::TIME), R0);
        asm.store_number(Size::Word, R9, offset(record::KIND), kind.cast_signed());
        asm.store_number(Size::Word, R9, offset(record::CALLER), 0);
        let length = self.layout.queue.within(SNAPSHOT, self.layout.queue.length);
        let queue = [
            (READS, record::READS),
            (READS_AFTER, record::READS_AFTER),
            (length, record::LENGTH),
            (TURN, record::TURN),
            (TURN_AFTER, record::TURN_AFTER),
        ];
        for (slot, at) in queue {
            asm.load(Size::Word, R1, STACK, slot);
            asm.store(Size::Word, R9, offset(at), R1);
        }
        asm.load(Size::Word, R1, R9, COUNT);
        asm.multiply_number(R1, 2);
        asm.load(Size::Double, R2, STACK, SETTLED);
        asm.add_register(R1, R2);
        asm.store(Size::Word, R9, offset(record::SETTLED), R1);
        asm.load(Size::Word, R1, R8, self.layout.tgid);
        asm.store(Size::Word, R9, offset(record::PID), R1);
        match self.layout.cgroup {
            None => asm.store_number(Size::Double, R9, offset(record::CGROUP), 0),
            Some(path) => {
                asm.copy(R1, R8);
                for offset in path {
                    asm.load(Size::Double, R1, R1, offset);
                }
                asm.store(Size::Double, R9, offset(record::CGROUP), R1);
            }
        }
        asm.load(Size::Double, R1, R8, self.layout.parent);
        asm.load(Size::Word, R1, R1, self.layout.tgid);
        asm.store(Size::Word, R9, offset(record::PARENT), R1);
        asm.load(Size::Double, R1, R8, self.layout.cred);
        self.users(asm, R1);
        asm.copy(R1, R9);
        asm.add(R1, immediate(record::COMM));
        asm.set(R2, const { to_u32(record::COMM_LEN) });
        asm.copy(R3, R8);
        asm.add(R3, self.layout.comm.into());
        asm.call(Helper::ProbeReadKernel);
    }

    /// The thread that makes the change, which may be of another process.
    fn caller(&self, asm: &mut Asm) {
        asm.call(Helper::GetCurrentPidTgid);
        asm.store(Size::Word, R9, offset(record::CALLER), R0);
    }

    /// User and group of the credentials at a register. Takes R2.
    fn users(&self, asm: &mut Asm, cred: Reg) {
        for (id, at) in [(self.layout.euid, record::UID), (self.layout.egid, record::GID)] {
            asm.load(Size::Word, R2, cred, id);
            asm.store(Size::Word, R9, offset(at), R2);
        }
    }

    /// Sends the first `bytes` bytes of the message at R9.
    fn send(&self, asm: &mut Asm, bytes: usize) {
        asm.set(R5, to_u32(bytes));
        self.output(asm);
    }

    /// Sends R5 bytes at R9.
    fn output(&self, asm: &mut Asm) {
        let sent = asm.label();
        asm.copy(R1, R6);
        asm.map(R2, self.maps.rings);
        asm.set(R3, CURRENT_CPU);
        asm.copy(R4, R9);
        asm.call(Helper::PerfEventOutput);
        asm.jump_if(If::Equal, R0, 0, sent);
        asm.map_value(R1, self.maps.globals);
        asm.set(R2, 1);
        asm.atomic_add(R1, word(global::LOST), R2);
        asm.put(sent);
    }
}

/// Offset of a shared number in the globals.
pub(super) fn word(index: usize) -> i16 {
    offset(index * size_of::<u64>())
}
