//! fanotify's bytes to events: pure, bounded, no system call. fanotify(7), linux/fanotify.h.
//!
//! The kernel is trusted to fill its structs, but no length in them is: what does not fit ends
//! the walk.

use fsmon_format::kind;

/// Bytes of `struct fanotify_event_metadata`.
pub(crate) const METADATA_LEN: usize = 24;
/// Version of the layout (`FANOTIFY_METADATA_VERSION`).
const VERSION: u8 = 3;
/// Bytes of `struct fanotify_event_info_header` and the fsid after it.
const INFO_HEAD: usize = 12;
/// Bytes of a `struct file_handle` before its data; the type is the second half.
const HANDLE_HEAD: usize = 8;

mod info {
    pub(super) const FID: u8 = 1;
    pub(super) const DFID_NAME: u8 = 2;
    pub(super) const DFID: u8 = 3;
    pub(super) const ERROR: u8 = 5;
    pub(super) const OLD_DFID_NAME: u8 = 10;
    pub(super) const NEW_DFID_NAME: u8 = 12;
}

/// An object: its filesystem's id, and its handle (type, then bytes) as the kernel tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// `f_fsid` of statfs(2).
    pub fsid: u64,
    /// Handle type (4 bytes), then the handle.
    pub handle: &'a [u8],
}

/// An entry of a directory. The name is empty for the directory itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
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
    /// Where; for a rename, the new place.
    pub place: Option<Place<'a>>,
    /// The old place of a rename.
    pub old: Option<Place<'a>>,
    /// The object itself.
    pub object: Option<Key<'a>>,
    /// A filesystem error: errno, and how many there were.
    pub error: Option<(u32, u32)>,
    /// The event's own bytes, to be kept for a second look.
    pub raw: &'a [u8],
}

impl Event<'_> {
    /// Whether the object is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.mask & u64::from(kind::ONDIR) != 0
    }

    /// The mask's low 32 bits: all that fanotify has defined so far.
    #[must_use]
    pub fn types(&self) -> u32 {
        self.mask as u32
    }
}

/// Walks the events of one read.
#[derive(Clone, Copy)]
pub struct Events<'a>(pub &'a [u8]);

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    #[inline]
    fn next(&mut self) -> Option<Event<'a>> {
        let Some((raw, rest, info_at)) = split(self.0) else {
            self.0 = &[];
            return None;
        };
        self.0 = rest;
        let mut event = Event {
            mask: u64_at(raw, 8)?,
            pid: u32_at(raw, 20)?,
            place: None,
            old: None,
            object: None,
            error: None,
            raw,
        };
        let mut infos = raw.get(info_at..).unwrap_or(&[]);
        while let Some((record, rest)) = split_info(infos) {
            event.add(record);
            infos = rest;
        }
        Some(event)
    }
}

impl<'a> Events<'a> {
    /// The first rename by `pid` that `is_meant`, among the first `reach` events; and how many of
    /// those there are. By their heads, so that what is no rename costs next to nothing.
    pub(crate) fn rename_by(
        self,
        pid: u32,
        reach: usize,
        is_meant: impl Fn(&Event<'_>) -> bool,
    ) -> (Option<Event<'a>>, usize) {
        let (mut bytes, mut len) = (self.0, 0);
        while len < reach
            && let Some((raw, rest, _)) = split(bytes)
        {
            let is_rename = u64_at(raw, 8).is_some_and(|mask| mask as u32 & kind::RENAME != 0);
            let event = is_rename && u32_at(raw, 20) == Some(pid);
            let event = event.then(|| Events(raw).next()).flatten().filter(&is_meant);
            if event.is_some() {
                return (event, len);
            }
            bytes = rest;
            len += 1;
        }
        (None, len)
    }

    /// How many events the walk will come by, from their heads alone.
    pub(crate) fn len(self) -> u32 {
        let (mut bytes, mut len) = (self.0, 0);
        while let Some((_, rest, _)) = split(bytes) {
            bytes = rest;
            len += 1;
        }
        len
    }
}

/// The first event of `bytes`, what follows it, and where in it the info records begin.
#[inline]
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let len = u32_at(bytes, 0)? as usize;
    let info_at = usize::from(u16_at(bytes, 6)?);
    if len < METADATA_LEN || *bytes.get(4)? != VERSION || info_at < METADATA_LEN {
        return None;
    }
    let (event, rest) = bytes.split_at_checked(len)?;
    Some((event, rest, info_at))
}

/// The first info record of `bytes`, as long as its header says, and what follows it.
#[inline]
fn split_info(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::from(u16_at(bytes, 2)?);
    if len < 4 {
        return None;
    }
    bytes.split_at_checked(len)
}

impl<'a> Event<'a> {
    #[inline]
    fn add(&mut self, record: &'a [u8]) {
        match record[0] {
            info::DFID_NAME | info::DFID | info::NEW_DFID_NAME => self.place = place(record),
            info::OLD_DFID_NAME => self.old = place(record),
            info::FID => self.object = key(record).map(|(key, _)| key),
            info::ERROR => self.error = u32_at(record, 4).zip(u32_at(record, 8)),
            _ => {}
        }
    }
}

#[inline]
fn key(record: &[u8]) -> Option<(Key<'_>, &[u8])> {
    let fsid = u64_at(record, 4)?;
    let len = u32_at(record, INFO_HEAD)? as usize;
    let rest = record.get(INFO_HEAD + HANDLE_HEAD - 4..)?;
    let (handle, rest) = rest.split_at_checked(len.checked_add(4)?)?;
    Some((Key { fsid, handle }, rest))
}

#[inline]
fn place(record: &[u8]) -> Option<Place<'_>> {
    let (dir, rest) = key(record)?;
    let name = match memchr::memchr(0, rest) {
        Some(end) => &rest[..end],
        None => rest,
    };
    // A directory's events on itself come with its own handle and the name ".".
    let name = if name == b"." { &[] } else { name };
    Some(Place { dir, name })
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
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
    fn a_rename_has_both_places_and_its_object() {
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
        assert_eq!(got.place.expect("new").name, b"bb");
        assert_eq!(&got.object.expect("object").handle[4..], b"file");
        assert_eq!(got.place.expect("new").dir.fsid, 7);
    }

    #[test]
    fn the_directory_itself_has_an_empty_name() {
        let bytes = event(4, 1, &[info(info::DFID_NAME, b"dir", Some(b"."))]);
        assert_eq!(Events(&bytes).next().expect("one").place.expect("place").name, b"");
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
