//! A small assembler for BPF: the instructions that the programs use, and labels.
//!
//! Instruction set: Documentation/bpf/standardization/instruction-set.rst.

use crate::sys::bpf::Insn;
use std::os::fd::{AsRawFd, BorrowedFd};

/// An offset from a register, which instructions have 16 bits for.
pub(super) const fn offset(bytes: usize) -> i16 {
    assert!(bytes <= i16::MAX as usize, "offsets of the programs are short");
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "just checked")]
    let offset = bytes as i16;
    offset
}

/// A number within an instruction, which has 32 bits for it.
pub(super) const fn immediate(number: usize) -> i32 {
    assert!(number <= i32::MAX as usize, "numbers of the programs are small");
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "just checked")]
    let immediate = number as i32;
    immediate
}

/// A register. R0 is what a call returns, R1 to R5 are its arguments and lost by it, R6 to R9 stay,
/// R10 is the end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reg(pub(super) u8);

pub(super) const R0: Reg = Reg(0);
pub(super) const R1: Reg = Reg(1);
pub(super) const R2: Reg = Reg(2);
pub(super) const R3: Reg = Reg(3);
pub(super) const R4: Reg = Reg(4);
pub(super) const R5: Reg = Reg(5);
pub(super) const R6: Reg = Reg(6);
pub(super) const R7: Reg = Reg(7);
pub(super) const R8: Reg = Reg(8);
pub(super) const R9: Reg = Reg(9);
pub(super) const STACK: Reg = Reg(10);

/// Helper functions, by their numbers in linux/bpf.h.
#[derive(Clone, Copy)]
pub(super) enum Helper {
    MapLookup = 1,
    KtimeGetNs = 5,
    GetCurrentPidTgid = 14,
    PerfEventOutput = 25,
    ProbeReadUser = 112,
    ProbeReadKernel = 113,
    ProbeReadKernelStr = 115,
    GetCurrentTask = 158,
    /// Linux 5.17.
    Loop = 181,
}

/// Bytes of a load or store.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Byte = 0x10,
    Word = 0x00,
    Double = 0x18,
}

/// Condition of a jump.
#[derive(Clone, Copy)]
pub(super) enum If {
    Equal = 0x10,
    NotEqual = 0x50,
    Above = 0x20,
    AtMost = 0xb0,
    /// Any of these bits is set.
    Any = 0x40,
}

/// The target of a jump, forward only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program that is being assembled.
#[derive(Default)]
pub(super) struct Asm {
    insns: Vec<Insn>,
    /// Jumps whose target is still unknown, with its label.
    jumps: Vec<(usize, Label)>,
    /// The same for names of functions.
    names: Vec<(usize, Label)>,
    /// Where each function after the first begins.
    functions: Vec<usize>,
    /// Functions that are called repeatedly, with the label of each.
    steps: Vec<(Step, Label)>,
    /// How many of those functions are written.
    written: usize,
    labels: usize,
}

/// A function that `bpf_loop()` calls repeatedly. The verifier checks it once, and not for each turn as with a
/// written-out loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A look at the queue, followed by this number of pauses.
    Look(usize),
    /// The same with a long pause, while patience lasts.
    Patient,
    /// One event of the queue.
    Witness,
    /// One name or mount of a path.
    Path,
}

/// An assembled program.
#[derive(Default)]
pub(super) struct Code {
    pub(super) insns: Vec<Insn>,
    /// Where each function after the first begins.
    pub(super) functions: Vec<usize>,
}

impl Asm {
    fn push(&mut self, code: u8, dst: Reg, src: Reg, offset: i16, immediate: i32) {
        self.insns.push(Insn { code, registers: dst.0 | src.0 << 4, offset, immediate });
    }

    /// `dst = src`
    pub(super) fn copy(&mut self, dst: Reg, src: Reg) {
        self.push(0xbf, dst, src, 0, 0);
    }

    /// `dst = number`, without a sign.
    pub(super) fn set(&mut self, dst: Reg, number: u32) {
        self.push(0xb4, dst, R0, 0, number.cast_signed());
    }

    /// `dst += number`
    pub(super) fn add(&mut self, dst: Reg, number: i32) {
        self.push(0x07, dst, R0, 0, number);
    }

    /// `dst += src`
    pub(super) fn add_register(&mut self, dst: Reg, src: Reg) {
        self.push(0x0f, dst, src, 0, 0);
    }

    /// `dst *= number`
    pub(super) fn multiply_number(&mut self, dst: Reg, number: i32) {
        self.push(0x27, dst, R0, 0, number);
    }

    /// `dst -= src`
    pub(super) fn subtract(&mut self, dst: Reg, src: Reg) {
        self.push(0x1f, dst, src, 0, 0);
    }

    /// `dst |= src`
    pub(super) fn or(&mut self, dst: Reg, src: Reg) {
        self.push(0x4f, dst, src, 0, 0);
    }

    /// `dst &= number`
    pub(super) fn and_number(&mut self, dst: Reg, number: i32) {
        self.push(0x57, dst, R0, 0, number);
    }

    /// `dst ^= src`
    pub(super) fn xor(&mut self, dst: Reg, src: Reg) {
        self.push(0xaf, dst, src, 0, 0);
    }

    /// `dst = *(src + offset)`
    pub(super) fn load(&mut self, size: Size, dst: Reg, src: Reg, offset: i16) {
        self.push(0x61 | size as u8, dst, src, offset, 0);
    }

    /// `*(dst + offset) = src`
    pub(super) fn store(&mut self, size: Size, dst: Reg, offset: i16, src: Reg) {
        self.push(0x63 | size as u8, dst, src, offset, 0);
    }

    /// `*(dst + offset) = number`
    pub(super) fn store_number(&mut self, size: Size, dst: Reg, offset: i16, number: i32) {
        self.push(0x62 | size as u8, dst, R0, offset, number);
    }

    /// `*(dst + offset) += src`, whole, 64 bits.
    pub(super) fn atomic_add(&mut self, dst: Reg, offset: i16, src: Reg) {
        self.push(0xdb, dst, src, offset, 0);
    }

    /// `dst` is this map.
    pub(super) fn map(&mut self, dst: Reg, map: BorrowedFd<'_>) {
        self.wide(dst, 1, map.as_raw_fd());
    }

    /// `dst` points to the first value of this array.
    pub(super) fn map_value(&mut self, dst: Reg, map: BorrowedFd<'_>) {
        self.wide(dst, 2, map.as_raw_fd());
    }

    fn wide(&mut self, dst: Reg, kind: u8, number: i32) {
        self.push(0x18, dst, Reg(kind), 0, number);
        self.push(0, R0, R0, 0, 0);
    }

    /// Calls `step` up to `turns` times, until it returns 1. `step` gets the number of the turn in R1, from 0 on,
    /// and in R2 the address of the caller's stack, 8 bytes below its end.
    pub(super) fn repeat(&mut self, turns: u32, step: Step) {
        let known = self.steps.iter().find(|(other, _)| *other == step).map(|(_, label)| *label);
        let label = known.unwrap_or_else(|| {
            let label = self.label();
            self.steps.push((step, label));
            label
        });
        self.set(R1, turns);
        self.names.push((self.insns.len(), label));
        self.wide(R2, 4, 0);
        self.copy(R3, STACK);
        self.add(R3, -8);
        self.set(R4, 0);
        self.call(Helper::Loop);
    }

    /// Begins the next function that is used and not written yet. `frame` becomes the end of the caller's stack.
    /// The code before must end with [`Asm::leave`].
    pub(super) fn begin_step(&mut self, frame: Reg) -> Option<Step> {
        let &(step, label) = self.steps.get(self.written)?;
        self.written += 1;
        self.begin_function(label);
        self.copy(frame, R2);
        self.add(frame, 8);
        Some(step)
    }

    /// Limits `dst` to `most`, unsigned: so the verifier knows a bound.
    pub(super) fn at_most(&mut self, dst: Reg, most: u32) {
        let bounded = self.label();
        self.jump_if(If::AtMost, dst, most.cast_signed(), bounded);
        self.set(dst, most);
        self.put(bounded);
    }

    /// Calls a helper.
    pub(super) fn call(&mut self, helper: Helper) {
        self.push(0x85, R0, R0, 0, helper as i32);
    }

    /// Calls a function of the kernel, by its id in the kernel's type information (`BPF_PSEUDO_KFUNC_CALL`).
    pub(super) fn call_kernel(&mut self, function: u32) {
        self.push(0x85, R0, Reg(2), 0, function.cast_signed());
    }

    /// A label, to be placed later with [`Asm::put`].
    pub(super) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels)
    }

    /// Jumps if `dst` compares to a number, 64 bits.
    pub(super) fn jump_if(&mut self, condition: If, dst: Reg, number: i32, to: Label) {
        self.jumps.push((self.insns.len(), to));
        self.push(0x05 | condition as u8, dst, R0, 0, number);
    }

    /// Jumps if two registers compare, 64 bits.
    pub(super) fn jump_if_register(&mut self, condition: If, dst: Reg, src: Reg, to: Label) {
        self.jumps.push((self.insns.len(), to));
        self.push(0x0d | condition as u8, dst, src, 0, 0);
    }

    /// Jumps.
    pub(super) fn jump(&mut self, to: Label) {
        self.jumps.push((self.insns.len(), to));
        self.push(0x05, R0, R0, 0, 0);
    }

    /// Places a label here.
    pub(super) fn put(&mut self, label: Label) {
        let here = self.insns.len();
        for &(at, _) in self.jumps.iter().filter(|(_, to)| *to == label) {
            self.insns[at].offset = offset(here - at - 1);
        }
        self.jumps.retain(|(_, to)| *to != label);
    }

    fn begin_function(&mut self, label: Label) {
        let here = self.insns.len();
        self.functions.push(here);
        for &(at, _) in self.names.iter().filter(|(_, to)| *to == label) {
            self.insns[at].immediate = immediate(here - at - 1);
        }
        self.names.retain(|(_, to)| *to != label);
    }

    /// `return number`
    pub(super) fn leave(&mut self, number: u32) {
        self.set(R0, number);
        self.push(0x95, R0, R0, 0, 0);
    }

    /// The program, which has to end with [`Asm::leave`].
    pub(super) fn end(self) -> Code {
        debug_assert!(self.jumps.is_empty() && self.names.is_empty(), "a label is nowhere");
        Code { insns: self.insns, functions: self.functions }
    }
}
