//! fanotify's bytes to events: pure, bounded, no system call. fanotify(7), linux/fanotify.h.
//!
//! The kernel is trusted to fill its structs, but no length in them is trusted: the first one that does not fit
//! ends the walk.

use fsmon_format::kind;
use zerocopy::FromBytes;

/// `struct fanotify_event_metadata`.
#[derive(FromBytes)]
#[repr(C)]
struct Metadata {
    event_len: u32,
    vers: u8,
    _reserved: u8,
    metadata_len: u16,
    mask: u64,
    _fd: i32,
    pid: u32,
}

impl Metadata {
    /// The info records of the event that begins with this head.
    #[inline]
    fn infos<'a>(&self, event: &'a [u8]) -> Infos<'a> {
        Infos(event.get(usize::from(self.metadata_len)..).unwrap_or(&[]))
    }

    /// The old location of a rename.
    #[inline]
    fn old_location<'a>(&self, event: &'a [u8]) -> Option<Location<'a>> {
        self.infos(event).find(|record| record[0] == info::OLD_DFID_NAME).and_then(location_in)
    }
}

/// Length of [`Metadata`].
pub(crate) const METADATA_LEN: usize = size_of::<Metadata>();

/// `struct fanotify_event_info_fid`, as far as it is the same for all handles.
#[derive(FromBytes)]
#[repr(C)]
struct Fid {
    _header: [u8; 4],
    fsid: [u8; 8],
    handle_bytes: u32,
    _handle_type: u32,
}

/// Offset of the type of the handle; the handle follows.
const HANDLE_TYPE: usize = 16;

/// Version of the layout (`FANOTIFY_METADATA_VERSION`).
const VERSION: u8 = 3;

mod info {
    pub(super) const FID: u8 = 1;
    pub(super) const DFID_NAME: u8 = 2;
    pub(super) const DFID: u8 = 3;
    pub(super) const ERROR: u8 = 5;
    pub(super) const OLD_DFID_NAME: u8 = 10;
    pub(super) const NEW_DFID_NAME: u8 = 12;
}

/// An object: the id of its filesystem, and its handle (type, then bytes), by which the kernel identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// `f_fsid` of statfs(2).
    pub fsid: u64,
    /// Handle type (4 bytes), then the handle.
    pub handle: &'a [u8],
}

/// An entry of a directory. The name is empty for the directory itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// The directory.
    pub dir: Key<'a>,
    /// The entry's name.
    pub name: &'a [u8],
}

/// One event as the kernel reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// `FAN_*` bits.
    pub mask: u64,
    /// The process (tgid); 0 where it is outside our pid namespace.
    pub pid: u32,
    /// The entry; for a rename, the new one.
    pub location: Option<Location<'a>>,
    /// The old location of a rename.
    pub old: Option<Location<'a>>,
    /// The object itself.
    pub object: Option<Key<'a>>,
    /// A filesystem error: errno, and how many there were.
    pub error: Option<(u32, u32)>,
    /// The bytes of the event, to be parsed again later.
    pub raw: &'a [u8],
}

impl Event<'_> {
    /// Whether the object is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.mask & u64::from(kind::ONDIR) != 0
    }

    /// Whether it is about an entry but lacks its name: the kernel leaves out names beyond 255 bytes, which vfat,
    /// exfat, ntfs3 and FUSE have. An event about a directory itself has no object besides its location.
    #[inline]
    pub(crate) fn lacks_name(&self) -> bool {
        self.location.is_some_and(|at| at.name.is_empty()) && self.object.is_some()
    }

    /// The mask's low 32 bits: all that fanotify has defined so far.
    #[must_use]
    pub fn types(&self) -> u32 {
        types(self.mask)
    }
}

/// The low 32 bits of a mask: all that fanotify has defined so far.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the upper bits mean nothing yet")]
fn types(mask: u64) -> u32 {
    mask as u32
}

/// Walks the events of one read.
#[derive(Clone, Copy)]
pub struct Events<'a>(pub &'a [u8]);

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    #[inline]
    fn next(&mut self) -> Option<Event<'a>> {
        let Some((head, raw, rest)) = split(self.0) else {
            self.0 = &[];
            return None;
        };
        self.0 = rest;
        let (mut location, mut old, mut object, mut error) = (None, None, None, None);
        for record in head.infos(raw) {
            match record[0] {
                info::DFID_NAME | info::DFID | info::NEW_DFID_NAME => {
                    location = location_in(record);
                }
                info::OLD_DFID_NAME => old = location_in(record),
                info::FID => object = key(record).map(|(key, _)| key),
                info::ERROR => error = error_in(record),
                _ => {}
            }
        }
        Some(Event { mask: head.mask, pid: head.pid, location, old, object, error, raw })
    }
}

impl<'a> Events<'a> {
    /// The first rename by process `pid`, out of location `from` if given, for which `is_meant`, among the first
    /// `reach` events; and the number of events before it. Other events cost next to nothing.
    #[inline]
    pub(crate) fn rename_by(
        self,
        (pid, from): (u32, Option<Location<'_>>),
        reach: usize,
        is_meant: impl Fn(&Event<'_>) -> bool,
    ) -> (Option<Event<'a>>, usize) {
        let (mut bytes, mut len) = (self.0, 0);
        while len < reach
            && let Some((head, raw, rest)) = split(bytes)
        {
            if types(head.mask) & kind::RENAME != 0
                && head.pid == pid
                && from.is_none_or(|from| head.old_location(raw) == Some(from))
                && let Some(event) = Events(raw).next().filter(&is_meant)
            {
                return (Some(event), len);
            }
            bytes = rest;
            len += 1;
        }
        (None, len)
    }

    /// The directories that are renamed, each with the index of its event. Other events cost next to nothing.
    #[inline]
    pub(crate) fn renamed_dirs(self) -> impl Iterator<Item = (u64, Key<'a>)> {
        const RENAMED: u32 = kind::RENAME | kind::ONDIR;
        let (mut bytes, mut number) = (self.0, 0);
        std::iter::from_fn(move || {
            while let Some((head, raw, rest)) = split(bytes) {
                (bytes, number) = (rest, number + 1);
                let is_one = types(head.mask) & RENAMED == RENAMED;
                if is_one && let Some(dir) = Events(raw).next().and_then(|event| event.object) {
                    return Some((number - 1, dir));
                }
            }
            None
        })
    }

    /// The number of events, from their heads alone.
    pub(crate) fn len(self) -> u32 {
        let (mut bytes, mut len) = (self.0, 0);
        while let Some((_, _, rest)) = split(bytes) {
            bytes = rest;
            len += 1;
        }
        len
    }
}

/// The first event of `bytes`: its head, all its bytes, and the bytes after it.
#[inline]
fn split(bytes: &[u8]) -> Option<(Metadata, &[u8], &[u8])> {
    let (head, _) = Metadata::read_from_prefix(bytes).ok()?;
    let least = head.event_len.min(head.metadata_len.into()) as usize;
    let whole = head.vers == VERSION && least >= METADATA_LEN;
    let (event, rest) = bytes.split_at_checked(head.event_len as usize).filter(|_| whole)?;
    Some((head, event, rest))
}

/// Walks info records by the lengths in their headers.
struct Infos<'a>(&'a [u8]);

impl<'a> Iterator for Infos<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let [_, _, low, high] = *self.0.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([low, high]));
        let (record, rest) = self.0.split_at_checked(len).filter(|_| len >= 4)?;
        self.0 = rest;
        Some(record)
    }
}

#[inline]
fn key(record: &[u8]) -> Option<(Key<'_>, &[u8])> {
    let (fid, _) = Fid::read_from_prefix(record).ok()?;
    // The type of a handle is part of its identity, as its bytes are.
    let len = (fid.handle_bytes as usize).checked_add(4)?;
    let (handle, rest) = record[HANDLE_TYPE..].split_at_checked(len)?;
    Some((Key { fsid: u64::from_ne_bytes(fid.fsid), handle }, rest))
}

#[inline]
fn location_in(record: &[u8]) -> Option<Location<'_>> {
    let (dir, rest) = key(record)?;
    let name = name(rest);
    // A directory's events on itself come with its own handle and the name ".".
    let name = if name == b"." { &[] } else { name };
    Some(Location { dir, name })
}

/// A name, which ends before the first NUL. By words: nearly all names end in the first or second.
#[inline]
fn name(padded: &[u8]) -> &[u8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = padded.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest bit that is set is that of the first NUL.
        let nuls = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if nuls != 0 {
            return &padded[..at * 8 + nuls.trailing_zeros() as usize / 8];
        }
    }
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    &padded[..words.len() * 8 + end]
}

#[inline]
fn error_in(record: &[u8]) -> Option<(u32, u32)> {
    let ([errno, count], _) = <[u32; 2]>::read_from_prefix(record.get(4..)?).ok()?;
    Some((errno, count))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn info(kind: u8, handle: &[u8], name: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend(7u64.to_ne_bytes());
        bytes.extend((handle.len() as u32).to_ne_bytes());
        bytes.extend(1u32.to_ne_bytes());
        bytes.extend(handle);
        if let Some(name) = name {
            bytes.extend(name);
            bytes.push(0);
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_ne_bytes());
        bytes
    }

    pub(crate) fn event(mask: u64, pid: u32, infos: &[Vec<u8>]) -> Vec<u8> {
        let body = infos.concat();
        let mut bytes = ((METADATA_LEN + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend([VERSION, 0]);
        bytes.extend((METADATA_LEN as u16).to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1i32).to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_rename_has_both_locations_and_its_object() {
        let bytes = event(
            u64::from(kind::RENAME),
            42,
            &[
                info(info::OLD_DFID_NAME, b"olddir", Some(b"a")),
                info(info::NEW_DFID_NAME, b"newdir", Some(b"bb")),
                info(info::FID, b"file", None),
            ],
        );
        let events: Vec<_> = Events(&bytes).collect();
        assert_eq!(events.len(), 1);
        let got = events[0];
        assert_eq!((got.pid, got.types()), (42, kind::RENAME));
        assert_eq!(got.old.expect("old").name, b"a");
        assert_eq!(got.location.expect("new").name, b"bb");
        assert_eq!(&got.object.expect("object").handle[4..], b"file");
        assert_eq!(got.location.expect("new").dir.fsid, 7);
    }

    #[test]
    fn the_directory_itself_has_an_empty_name() {
        let bytes = event(4, 1, &[info(info::DFID_NAME, b"dir", Some(b"."))]);
        assert_eq!(Events(&bytes).next().expect("one").location.expect("a location").name, b"");
    }

    #[test]
    fn an_entry_without_its_name_is_not_taken_for_the_directory_itself() {
        let without = [info(info::DFID, b"dir", None), info(info::FID, b"file", None)];
        let lacks_name = |bytes: &[u8]| Events(bytes).next().expect("one").lacks_name();
        assert!(lacks_name(&event(8, 1, &without)));
        assert!(!lacks_name(&event(4, 1, &[info(info::DFID_NAME, b"dir", Some(b"."))])));
        let named = [info(info::DFID_NAME, b"dir", Some(b"name")), info(info::FID, b"file", None)];
        assert!(!lacks_name(&event(8, 1, &named)));
    }

    #[test]
    fn names_of_every_length_end_where_their_nul_is() {
        for len in 1..=255 {
            let wanted = vec![0xff; len];
            for handle in [&b"eight by"[..], b"eleven byte", b"of twelve by"] {
                let bytes = event(8, 1, &[info(info::DFID_NAME, handle, Some(&wanted))]);
                assert_eq!(
                    Events(&bytes).next().expect("one").location.expect("a location").name,
                    wanted
                );
            }
        }
    }

    #[test]
    fn a_rename_is_found_by_its_process_and_its_old_location() {
        let rename = |pid, from: &[u8]| {
            let places = [
                info(info::OLD_DFID_NAME, b"dir", Some(from)),
                info(info::NEW_DFID_NAME, b"dir", Some(b"to")),
            ];
            event(u64::from(kind::RENAME), pid, &places)
        };
        let other = event(8, 7, &[info(info::DFID_NAME, b"dir", Some(b"x"))]);
        let bytes = [other, rename(8, b"x"), rename(7, b"y"), rename(7, b"x")].concat();
        let first = rename(7, b"x");
        let from = Events(&first).next().expect("one").old;
        let found = |by, reach| {
            let (found, ahead) = Events(&bytes).rename_by(by, reach, |_| true);
            (found.map(|one| (one.pid, one.old.expect("old").name.to_vec())), ahead)
        };
        assert_eq!(found((7, from), 9), (Some((7, b"x".to_vec())), 3));
        assert_eq!(found((7, None), 9), (Some((7, b"y".to_vec())), 2));
        assert_eq!((found((7, from), 3), found((9, None), 9)), ((None, 3), (None, 4)));
    }

    #[test]
    fn a_cut_anywhere_gives_only_whole_events() {
        let one = event(8, 1, &[info(info::DFID_NAME, b"dir", Some(b"name"))]);
        let bytes = [one.clone(), one.clone()].concat();
        for end in 0..bytes.len() {
            assert_eq!(Events(&bytes[..end]).count(), end / one.len());
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            Events(&bytes).for_each(drop);
        }

        #[test]
        fn a_name_ends_before_the_first_nul(bytes in proptest::collection::vec(0u8..3, 0..40)) {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            prop_assert_eq!(name(&bytes), &bytes[..end]);
        }

        #[test]
        fn a_damaged_event_never_panics(at in 0usize..90, with: u8) {
            let mut bytes = event(8, 1, &[
                info(info::DFID_NAME, b"dir", Some(b"name")),
                info(info::FID, b"file", None),
            ]);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = with;
            }
            Events(&bytes).for_each(drop);
        }
    }
}
