//! The kernel's own type information (BTF): offsets of members of its structures, and ids of its functions and
//! tracepoints.
//!
//! Format: Documentation/bpf/btf.rst. Only the parts that are searched are parsed; anything that does not fit the
//! format ends the search.

use crate::limits::start::BTF_DEPTH_MAX;
use crate::sys::bpf;
use memmap2::{Mmap, MmapMut};
use std::fs::File;
use std::io::{self, Read};

/// Where the running kernel describes itself (`CONFIG_DEBUG_INFO_BTF`).
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
/// Bytes of a type, its name included, or less.
const TYPE_LEN: usize = 24;

/// `BTF_KIND_*`
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const ENUM64: u32 = 19;
}

/// A member of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The byte in which it begins.
    pub(super) offset: i16,
    /// The bit of that byte.
    pub(super) bit: u8,
}

impl Member {
    /// The member that begins `bits` from the start; `None` beyond 32 KiB, where no instruction reaches.
    fn at(bits: u32) -> Option<Self> {
        let offset = i16::try_from(bits / 8).ok()?;
        let bit = u8::try_from(bits % 8).ok()?;
        Some(Member { offset, bit })
    }
}

/// One type: its header, and what follows it.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    info: u32,
    /// Where the data after the header begins.
    rest: usize,
}

impl Type {
    fn kind(self) -> u32 {
        self.info >> 24 & 0x1f
    }

    fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Bytes after the header.
    fn rest_len(self) -> usize {
        match self.kind() {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * self.count(),
            kind::ENUM | kind::FUNC_PROTO => 8 * self.count(),
            _ => 0,
        }
    }
}

/// The kernel's types.
pub(super) struct Btf<'a> {
    bytes: &'a [u8],
    strings: usize,
    /// Where each type begins; its id is its index, from 1.
    types: Vec<u32>,
}

/// Maps the description of the running kernel, about 6 MiB. Before Linux 6.16 it cannot be mapped and is copied.
///
/// # Errors
/// NotFound if the kernel does not describe itself.
pub(super) fn read() -> io::Result<Mmap> {
    let file = File::open(VMLINUX)?;
    bpf::map_description(&file).or_else(|_| copy(&file))
}

/// Copies the description into a mapping of its own. Memory given back to the allocator would be used for tables that
/// must be zero, and would then be written from one end to the other.
fn copy(mut file: &File) -> io::Result<Mmap> {
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = MmapMut::map_anon(len)?;
    file.read_exact(&mut bytes)?;
    bytes.make_read_only()
}

impl<'a> Btf<'a> {
    /// Parses a description.
    ///
    /// # Errors
    /// InvalidData.
    pub(super) fn of(description: &'a [u8]) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not a BTF description");
        Btf::new(description).ok_or_else(invalid)
    }

    fn new(bytes: &'a [u8]) -> Option<Self> {
        let types = Vec::with_capacity(bytes.len() / TYPE_LEN);
        let mut btf = Btf { bytes, strings: 0, types };
        let magic = btf.bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
        if magic != Some(MAGIC) {
            return None;
        }
        let header = btf.u32(4)? as usize;
        let start = header.checked_add(btf.u32(8)? as usize)?;
        let end = start.checked_add(btf.u32(12)? as usize)?;
        btf.strings = header.checked_add(btf.u32(16)? as usize)?;
        btf.bytes.get(start..end)?;
        let mut at = start;
        while at < end {
            btf.types.push(u32::try_from(at).ok()?);
            let found = btf.at(at)?;
            at = found.rest.checked_add(found.rest_len())?;
        }
        Some(btf)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    fn at(&self, at: usize) -> Option<Type> {
        Some(Type { name: self.u32(at)?, info: self.u32(at + 4)?, rest: at + 12 })
    }

    fn get(&self, id: u32) -> Option<Type> {
        self.at(*self.types.get((id as usize).checked_sub(1)?)? as usize)
    }

    /// Whether the name at offset `name` of the string section is `wanted`.
    fn is_named(&self, name: u32, wanted: &str) -> bool {
        let start = self.strings.saturating_add(name as usize);
        let bytes = self.bytes.get(start..).unwrap_or_default();
        bytes.starts_with(wanted.as_bytes()) && bytes.get(wanted.len()) == Some(&0)
    }

    fn find(&self, kind: u32, name: &str) -> io::Result<u32> {
        let is_it = |found: Type| found.kind() == kind && self.is_named(found.name, name);
        let found =
            (1..).zip(&self.types).map(|(id, _)| id).find(|&id| self.get(id).is_some_and(is_it));
        found.ok_or_else(|| missing(name))
    }

    /// The id of a structure.
    pub(super) fn structure(&self, name: &str) -> io::Result<u32> {
        self.find(kind::STRUCT, name)
    }

    /// The id of a function.
    pub(super) fn function(&self, name: &str) -> io::Result<u32> {
        self.find(kind::FUNC, name)
    }

    /// The id of a tracepoint.
    pub(super) fn tracepoint(&self, name: &str) -> io::Result<u32> {
        self.find(kind::TYPEDEF, &format!("btf_trace_{name}"))
    }

    /// A member of a structure, also of one without a name within it.
    pub(super) fn member(&self, structure: &str, name: &str) -> io::Result<Member> {
        let id = self.structure(structure)?;
        self.member_of(id, name, BTF_DEPTH_MAX)
            .and_then(Member::at)
            .ok_or_else(|| missing(&format!("{structure}.{name}")))
    }

    /// Where the member begins, in bits.
    fn member_of(&self, id: u32, name: &str, depth: u32) -> Option<u32> {
        let found = self.get(id)?;
        if !matches!(found.kind(), kind::STRUCT | kind::UNION) || depth == 0 {
            return None;
        }
        // With this bit set, the upper byte of a member's offset is the width of a bit field.
        let has_bits = found.info >> 31 != 0;
        (0..found.count()).find_map(|index| {
            let at = found.rest + 12 * index;
            let (label, inner, offset) = (self.u32(at)?, self.u32(at + 4)?, self.u32(at + 8)?);
            let bit = if has_bits { offset & 0x00ff_ffff } else { offset };
            if label == 0 {
                return bit.checked_add(self.member_of(inner, name, depth - 1)?);
            }
            self.is_named(label, name).then_some(bit)
        })
    }
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("this kernel has no {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { u32 first; union { u32 pad; struct { u32 a; u32 inner:3; }; }; }`
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0outer\0first\0pad\0a\0inner\0btf_trace_call\0";
        let name = |text: &str| {
            let text = [&[0], text.as_bytes(), &[0]].concat();
            strings.windows(text.len()).position(|at| at == text).expect("is there") as u32 + 1
        };
        let bits = 1 << 31;
        let types: Vec<u32> = [
            vec![name("int"), kind::INT << 24, 4, 32],
            vec![
                0,
                kind::STRUCT << 24 | bits | 2,
                8,
                name("a"),
                1,
                0,
                name("inner"),
                1,
                3 << 24 | 32,
            ],
            vec![0, kind::UNION << 24 | 2, 8, name("pad"), 1, 0, 0, 2, 0],
            vec![name("outer"), kind::STRUCT << 24 | 2, 12, name("first"), 1, 0, 0, 3, 32],
            vec![name("btf_trace_call"), kind::TYPEDEF << 24, 0],
        ]
        .concat();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let len = types.len() as u32 * 4;
        for number in [24, 0, len, len, strings.len() as u32].into_iter().chain(types) {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn members_are_found_also_without_a_named_structure_around_them() {
        let whole = sample();
        let btf = Btf::new(&whole).expect("sound");
        assert_eq!(btf.member("outer", "first").expect("is there"), Member { offset: 0, bit: 0 });
        assert_eq!(btf.member("outer", "inner").expect("is there"), Member { offset: 8, bit: 0 });
        assert!(btf.member("outer", "none").is_err() && btf.member("first", "a").is_err());
        assert_eq!(btf.tracepoint("call").expect("is there"), 5);
        assert!(btf.tracepoint("outer").is_err());
    }

    #[test]
    fn cut_or_changed_it_is_refused_or_searched_to_its_end() {
        let whole = sample();
        for len in 0..whole.len() {
            if let Some(btf) = Btf::new(&whole[..len]) {
                let _ = (btf.member("outer", "inner"), btf.tracepoint("call"));
            }
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                if let Some(btf) = Btf::new(&bytes) {
                    let _ = (btf.member("outer", "inner"), btf.tracepoint("call"));
                }
            }
        }
    }
}
