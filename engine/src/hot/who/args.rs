//! Command lines that BPF sent with the exec: exact, however short a process lives.
//!
//! Messages and images refer to a command line by a number: the id of the text, and flags. Each text is kept once,
//! while an image refers to it, and longer until its room is needed. A forked process has the command line of its
//! caller.

use super::cmdline::CmdlineRef;
use super::strings::Strings;
use crate::limits::{ARGS_BYTES, ARGS_MAX, CMDLINE_BYTES, CMDLINES_MAX, STRINGS_MAX};
use fsmon_format::number::to_u32;
use fsmon_format::record::proc_flag;

/// The text is only the beginning.
const CUT: u32 = 1 << 31;
/// An exec came without arguments: the program could not read them, or there was no room for them.
const UNKNOWN: u32 = 1 << 30;
const ID: u32 = UNKNOWN - 1;
/// Ids of strings follow those that [`super::cmdline`] gives out.
const FIRST: u32 = to_u32(STRINGS_MAX + CMDLINES_MAX);

const _: () = assert!(ARGS_MAX < ID as usize);

/// Whether `args` refers to a text.
#[inline]
#[must_use]
pub(super) fn has_text(args: u32) -> bool {
    args & ID != 0
}

/// Whether two equal numbers mean equal command lines, which they do except for [`UNKNOWN`].
#[inline]
#[must_use]
pub(super) fn is_known(args: u32) -> bool {
    args & UNKNOWN == 0
}

/// The texts.
#[derive(Default)]
pub(super) struct Args {
    /// `None` if command lines were not requested.
    strings: Option<Strings>,
}

impl Args {
    pub(super) fn new() -> Self {
        Args { strings: Some(Strings::with_capacity(ARGS_MAX, ARGS_BYTES)) }
    }

    /// Keeps the arguments of an exec, each with a NUL after it, and whether they are cut. The result has one
    /// reference.
    pub(super) fn keep(&mut self, text: Option<(&[u8], bool)>) -> u32 {
        let Some(strings) = &mut self.strings else { return 0 };
        let Some((text, cut)) = text else { return UNKNOWN };
        let whole = text.strip_suffix(&[0]).filter(|_| !cut).unwrap_or(text);
        match strings.intern(&whole[..whole.len().min(CMDLINE_BYTES)]) {
            0 => UNKNOWN,
            id => id | if cut { CUT } else { 0 },
        }
    }

    /// Adds a reference.
    #[inline]
    pub(super) fn retain(&mut self, args: u32) {
        if let Some(strings) = &mut self.strings {
            strings.retain(args & ID);
        }
    }

    /// Removes a reference.
    #[inline]
    pub(super) fn release(&mut self, args: u32) {
        if let Some(strings) = &mut self.strings {
            strings.release(args & ID);
        }
    }

    /// The words, separated by NULs.
    pub(super) fn text(&self, args: u32) -> &[u8] {
        self.strings.as_ref().map_or(&[], |strings| strings.get(args & ID))
    }

    /// What the definition of an image says of the command line. From now on the text counts as sent.
    pub(super) fn describe(&mut self, args: u32, image: u32) -> CmdlineRef {
        let id = args & ID;
        let Some(strings) = &mut self.strings else { return CmdlineRef::default() };
        let text_of = if strings.is_defined(id) { 0 } else { image };
        strings.set_defined(id);
        let flags = if args & CUT == 0 { 0 } else { proc_flag::CMDLINE_CUT };
        CmdlineRef { string: FIRST + id, flags, text_of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_sent_once() {
        let mut args = Args::new();
        let first = args.keep(Some((b"cc\0-c\0a b\0\0", false)));
        let second = args.keep(Some((b"cc\0-c\0a b\0\0", false)));
        assert!(first == second && has_text(first) && is_known(first));
        assert_eq!(args.text(first), b"cc\0-c\0a b\0");
        let line = args.describe(first, 7);
        assert_eq!((line.text_of, line.flags), (7, 0));
        assert_eq!(args.describe(second, 8), CmdlineRef { text_of: 0, ..line });
        args.release(first);
        assert_eq!(args.text(second), b"cc\0-c\0a b\0");
    }

    #[test]
    fn what_is_cut_says_so() {
        let mut args = Args::new();
        let text = [&[b'x'; CMDLINE_BYTES - 1][..], &[0]].concat();
        let (cut, whole) = (args.keep(Some((&text, true))), args.keep(Some((&text, false))));
        assert_eq!(args.describe(cut, 1).flags, proc_flag::CMDLINE_CUT);
        assert_eq!(args.describe(whole, 1).flags, 0);
        assert_eq!(args.text(cut), text);
        assert_eq!(args.text(whole).len(), CMDLINE_BYTES - 1);
    }

    #[test]
    fn without_a_text_it_is_unknown_and_not_asked_for_it_is_nothing() {
        let mut args = Args::new();
        for none in [None, Some((&b"\0"[..], false))] {
            let unknown = args.keep(none);
            assert!(!has_text(unknown) && !is_known(unknown));
        }
        assert_eq!(Args::default().keep(Some((b"x\0", false))), 0);
        let mut kept = 0;
        for number in 0..=ARGS_MAX {
            kept += u32::from(has_text(args.keep(Some((number.to_string().as_bytes(), false)))));
        }
        assert_eq!(kept as usize, ARGS_MAX);
    }
}
