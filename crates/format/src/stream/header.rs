//! The file header: describes the host and the watch of a stream.

use super::error::Fault;
use super::layout::{
    BLOCK_MAX, CLOCK_MONOTONIC, FILE_HEADER_FIXED, FileHeader, GRID, HEADER_LEN, HEADER_LEN_MAX,
    INCOMPATIBLE_KNOWN, MAGIC, MAJOR, entry,
};
use crate::number::{to_u32, to_usize};
use crate::record::SLOT;
use std::collections::HashMap;
use std::io::{self, Read};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// A filesystem that DIR records refer to by its index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filesystem {
    /// `fs` of the DIR records.
    pub index: u32,
    /// `statfs.f_fsid`
    pub fsid: u64,
    /// Such as `ext4`; without zero bytes.
    pub fs_type: Vec<u8>,
    /// Where it is mounted.
    pub mount: Vec<u8>,
}

/// The description of a stream. Texts are bytes as the kernel gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// 1 in streams that may have GAP or NOTE records, set by the program that writes them; else 0. A reader takes
    /// any number.
    pub minor: u16,
    /// Random, the same in all segments of a stream; the caller chooses it.
    pub stream_id: [u8; 16],
    /// The boot to which the times belong.
    pub boot_id: [u8; 16],
    /// `/etc/machine-id`; zero where unknown.
    pub machine_id: [u8; 16],
    /// 0 in the first file of a stream.
    pub segment: u32,
    /// `CLOCK_MONOTONIC` when the stream began, ns.
    pub time_ns: u64,
    /// `CLOCK_REALTIME` at the same moment, ns since 1970.
    pub realtime_ns: u64,
    /// Events of the stream in the segments before.
    pub first_event: u64,
    /// Blocks of the stream in the segments before.
    pub first_block: u64,
    /// fsmon's version.
    pub version: Vec<u8>,
    /// The kernel's release.
    pub kernel: Vec<u8>,
    /// The host's name.
    pub host: Vec<u8>,
    /// The event types asked for: [`crate::kind`] bits.
    pub types: u32,
    /// The filesystems.
    pub filesystems: Vec<Filesystem>,
    /// The watched roots, absolute.
    pub roots: Vec<Vec<u8>>,
    /// Entries that did not fit into the header.
    pub left_out: u32,
}

impl Header {
    /// The four bytes that each block of this stream carries.
    #[must_use]
    pub fn stream_tag(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.stream_id;
        [a, b, c, d]
    }

    /// The header as bytes of a file: [`HEADER_LEN`] of them. Filesystems and roots that do not fit are left out
    /// and counted.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut entries = Entries::default();
        entries.put(entry::VERSION, &[&self.version]);
        entries.put(entry::KERNEL, &[&self.kernel]);
        entries.put(entry::HOST, &[&self.host]);
        entries.put(entry::TYPES, &[&self.types.to_le_bytes()]);
        for fs in &self.filesystems {
            let (index, fsid) = (fs.index.to_le_bytes(), fs.fsid.to_le_bytes());
            entries.put(entry::FILESYSTEM, &[&index, &fsid, &fs.fs_type, b"\0", &fs.mount]);
        }
        for root in &self.roots {
            entries.put(entry::ROOT, &[root]);
        }
        let mut whole = self.fixed_part(entries.finish(self.left_out)).as_bytes().to_vec();
        whole.extend_from_slice(&entries.bytes);
        whole.resize(HEADER_LEN, 0);
        let crc = FileHeader::computed_crc(&whole);
        let at = std::mem::offset_of!(FileHeader, crc);
        whole[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        whole
    }

    fn fixed_part(&self, entries_len: u32) -> FileHeader {
        let mut fixed = FileHeader::new_zeroed();
        fixed.magic = MAGIC;
        fixed.major = MAJOR.into();
        fixed.minor = self.minor.into();
        fixed.header_len = to_u32(HEADER_LEN).into();
        fixed.slot = to_u32(SLOT).into();
        fixed.stream_id = self.stream_id;
        fixed.boot_id = self.boot_id;
        fixed.machine_id = self.machine_id;
        fixed.clock_id = CLOCK_MONOTONIC.into();
        fixed.segment = self.segment.into();
        fixed.time_ns = self.time_ns.into();
        fixed.realtime_ns = self.realtime_ns.into();
        fixed.first_event = self.first_event.into();
        fixed.first_block = self.first_block.into();
        fixed.block_max = to_u32(BLOCK_MAX).into();
        fixed.grid = to_u32(to_usize(GRID)).into();
        fixed.entries_len = entries_len.into();
        fixed
    }

    /// How long the header is that begins with these [`FILE_HEADER_FIXED`] bytes.
    ///
    /// # Errors
    /// No stream, a length out of bounds. Version and checksum are not looked at yet: that needs
    /// the whole header.
    pub(super) fn len(fixed: &[u8]) -> Result<usize, Fault> {
        let fixed = fixed_part(fixed)?;
        if fixed.magic != MAGIC {
            return Err(Fault::NotAStream);
        }
        let len = fixed.header_len.get() as usize;
        let fits = (FILE_HEADER_FIXED..=HEADER_LEN_MAX).contains(&len) && len.is_multiple_of(SLOT);
        if fits { Ok(len) } else { Err(Fault::FileHeader("its length is out of bounds")) }
    }

    /// That of the stream which begins with these bytes, if it is sound; for a look at a file. The
    /// reader says what is wrong with one that is not.
    ///
    /// # Errors
    /// Those of the source.
    pub fn peek(source: impl Read) -> io::Result<Option<Header>> {
        let mut bytes = Vec::new();
        source.take(HEADER_LEN_MAX as u64).read_to_end(&mut bytes)?;
        Ok(Header::parse(&bytes).ok())
    }

    /// Puts files in the order of their streams: streams by when they began, then segments by number.
    /// Where `header` gives none a file comes last; what is alike stays in the order in which it is.
    pub fn sort<T>(files: &mut [T], header: impl Fn(&T) -> Option<&Header>) {
        let mut began: HashMap<[u8; 16], u64> = HashMap::new();
        for header in files.iter().filter_map(&header) {
            let first = began.entry(header.stream_id).or_insert(u64::MAX);
            *first = header.realtime_ns.min(*first);
        }
        files.sort_by_key(|file| match header(file) {
            Some(header) => (began[&header.stream_id], header.stream_id, header.segment),
            None => (u64::MAX, [u8::MAX; 16], u32::MAX),
        });
    }

    /// Parses a whole header.
    ///
    /// # Errors
    /// A checksum that does not match; a version, flags or sizes that are not known.
    pub fn parse(whole: &[u8]) -> Result<Header, Fault> {
        let len = Header::len(whole)?;
        let whole = whole.get(..len).ok_or(Fault::Cut)?;
        let fixed = fixed_part(whole)?;
        if fixed.crc.get() != FileHeader::computed_crc(whole) {
            return Err(Fault::FileHeader("it does not match its checksum"));
        }
        // The checksum is at the same offset in every version, so an unknown version is no damage.
        if fixed.major.get() != MAJOR {
            return Err(Fault::Version(fixed.major.get()));
        }
        let unknown = fixed.incompatible.get() & !INCOMPATIBLE_KNOWN;
        if unknown != 0 {
            return Err(Fault::Flags(unknown));
        }
        let sizes = (fixed.slot.get(), fixed.block_max.get(), fixed.grid.get());
        if sizes != (to_u32(SLOT), to_u32(BLOCK_MAX), to_u32(to_usize(GRID))) {
            return Err(Fault::Sizes);
        }
        let entries = whole[FILE_HEADER_FIXED..]
            .get(..fixed.entries_len.get() as usize)
            .ok_or(Fault::FileHeader("its entries are longer than it is"))?;
        let mut header = Header {
            minor: fixed.minor.get(),
            stream_id: fixed.stream_id,
            boot_id: fixed.boot_id,
            machine_id: fixed.machine_id,
            segment: fixed.segment.get(),
            time_ns: fixed.time_ns.get(),
            realtime_ns: fixed.realtime_ns.get(),
            first_event: fixed.first_event.get(),
            first_block: fixed.first_block.get(),
            ..Header::default()
        };
        header.take_entries(entries)?;
        Ok(header)
    }

    fn take_entries(&mut self, mut entries: &[u8]) -> Result<(), Fault> {
        const BROKEN: Fault = Fault::FileHeader("an entry is cut short");
        while !entries.is_empty() {
            let (head, rest) = entries.split_first_chunk::<4>().ok_or(BROKEN)?;
            let [t0, t1, l0, l1] = *head;
            let len = usize::from(u16::from_le_bytes([l0, l1]));
            let (value, rest) = rest.split_at_checked(len).ok_or(BROKEN)?;
            entries = rest;
            match u16::from_le_bytes([t0, t1]) {
                entry::VERSION => self.version = value.to_vec(),
                entry::KERNEL => self.kernel = value.to_vec(),
                entry::HOST => self.host = value.to_vec(),
                entry::TYPES => self.types = number(value).ok_or(BROKEN)?,
                entry::FILESYSTEM => self.filesystems.push(filesystem(value).ok_or(BROKEN)?),
                entry::ROOT => self.roots.push(value.to_vec()),
                entry::LEFT_OUT => self.left_out = number(value).ok_or(BROKEN)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn fixed_part(bytes: &[u8]) -> Result<&FileHeader, Fault> {
    FileHeader::ref_from_prefix(bytes).map(|(fixed, _)| fixed).map_err(|_| Fault::Cut)
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_le_bytes)
}

fn filesystem(value: &[u8]) -> Option<Filesystem> {
    let (index, rest) = value.split_first_chunk::<4>()?;
    let (fsid, rest) = rest.split_first_chunk::<8>()?;
    let zero = rest.iter().position(|&byte| byte == 0)?;
    Some(Filesystem {
        index: u32::from_le_bytes(*index),
        fsid: u64::from_le_bytes(*fsid),
        fs_type: rest[..zero].to_vec(),
        mount: rest[zero + 1..].to_vec(),
    })
}

/// Collects entries, within the room of the header.
#[derive(Default)]
struct Entries {
    bytes: Vec<u8>,
    left_out: u32,
}

impl Entries {
    /// Reserves room for the entry that counts what was left out.
    const ROOM: usize = HEADER_LEN - FILE_HEADER_FIXED - 8;

    fn put(&mut self, tag: u16, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.bytes.len() + 4 + len > Self::ROOM {
            self.left_out += 1;
            return;
        }
        let len = u16::try_from(len).expect("an entry is shorter than the header");
        self.bytes.extend_from_slice(&tag.to_le_bytes());
        self.bytes.extend_from_slice(&len.to_le_bytes());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    fn finish(&mut self, before: u32) -> u32 {
        let left_out = self.left_out.saturating_add(before);
        if left_out > 0 {
            self.bytes.extend_from_slice(&entry::LEFT_OUT.to_le_bytes());
            self.bytes.extend_from_slice(&4u16.to_le_bytes());
            self.bytes.extend_from_slice(&left_out.to_le_bytes());
        }
        to_u32(self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            minor: super::super::layout::MINOR,
            stream_id: *b"0123456789abcdef",
            segment: 3,
            first_block: 7,
            version: b"1.0.0".to_vec(),
            kernel: b"6.18.1".to_vec(),
            host: b"builder".to_vec(),
            types: crate::kind::DEFAULT,
            filesystems: vec![Filesystem {
                index: 1,
                fsid: 42,
                fs_type: b"ext4".to_vec(),
                mount: b"/srv/\xff".to_vec(),
            }],
            roots: vec![b"/srv/b".to_vec(), b"/srv/c".to_vec()],
            ..Header::default()
        }
    }

    #[test]
    fn what_is_written_comes_back() {
        let whole = header().encode();
        assert_eq!(whole.len(), HEADER_LEN);
        assert_eq!(Header::parse(&whole), Ok(header()));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut long = header();
        long.roots = vec![vec![b'r'; 1000]; 9];
        let back = Header::parse(&long.encode()).expect("a header");
        assert_eq!((back.roots.len(), back.left_out), (3, 6));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = header().encode();
        for bit in 0..512 * 8 {
            let mut broken = whole.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&broken).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn an_unknown_version_or_required_feature_is_refused() {
        let incompatible = std::mem::offset_of!(FileHeader, incompatible);
        for (at, fault) in [(8, Fault::Version(3)), (incompatible + 1, Fault::Flags(0x200))] {
            let mut whole = header().encode();
            whole[at] ^= 2;
            assert!(matches!(Header::parse(&whole), Err(Fault::FileHeader(_))));
            let crc = FileHeader::computed_crc(&whole).to_le_bytes();
            whole[20..24].copy_from_slice(&crc);
            assert_eq!(Header::parse(&whole), Err(fault));
        }
    }

    #[test]
    fn unknown_entries_and_compatible_flags_are_passed_over() {
        let mut whole = header().encode();
        whole[32] = 0xff;
        let at = std::mem::offset_of!(FileHeader, entries_len);
        let len = u32::from_le_bytes(whole[at..at + 4].try_into().expect("four")) as usize;
        whole[at..at + 4].copy_from_slice(&(to_u32(len) + 6).to_le_bytes());
        whole[192 + len..192 + len + 6].copy_from_slice(&[0xee, 0xee, 2, 0, 1, 2]);
        let crc = FileHeader::computed_crc(&whole).to_le_bytes();
        whole[20..24].copy_from_slice(&crc);
        assert_eq!(Header::parse(&whole), Ok(header()));
    }
}
