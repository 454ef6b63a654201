//! Names that say in which directory they were given.
//!
//! A name is a kind (`d` for what is made as a directory, `l` for a link, `f` for all else), a slot,
//! and a hash of the path of its directory below the root: `f3.9a0b1c2d`. A directory has but ten slots of each
//! kind, so that names are soon used again. What a slot adds makes names long, or not UTF-8, or
//! hard to print. Slot 9 is a name of one byte, which says nothing.

use super::rng::Rng;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Slots of each kind in a directory.
const SLOTS: usize = 10;
/// Length of a name of the longest slot: NAME_MAX.
const LEN_MAX: usize = 255;

/// FNV-1a, folded to 32 bits.
fn hash(path: &[u8]) -> u32 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = path.iter().fold(0xcbf2_9ce4_8422_2325, step);
    (hash ^ (hash >> 32)) as u32
}

/// The name of a slot in the directory with that path below the root.
fn name(kind: char, slot: usize, dir: &[u8]) -> Vec<u8> {
    if slot == SLOTS - 1 {
        // Its kind shows all the same, and no two kinds share a name.
        return vec![if kind == 'd' { b'A' } else { b'\\' }];
    }
    let mut name = format!("{kind}{slot}.{:08x}", hash(dir)).into_bytes();
    match slot {
        5 => name.extend(b" \"\n\t'\x1b[31m"),
        6 => name.extend(b"\xff\xfe \xc3\x28\x80"),
        7 => name.resize(LEN_MAX, b'x'),
        8 => name.resize(100, b'\xe4'),
        _ => {}
    }
    name
}

/// A name for something that is not a directory, in the directory with that path.
pub(crate) fn of_file(rng: &mut Rng, dir: &[u8]) -> Vec<u8> {
    name('f', usual_slot(rng), dir)
}

/// A name for a directory in the directory with that path.
pub(crate) fn of_dir(rng: &mut Rng, dir: &[u8]) -> Vec<u8> {
    name('d', usual_slot(rng), dir)
}

/// A name for a link, which no other ever had: of one that is made anew at a name that its file had
/// a moment ago, the kernel does not tell.
pub(crate) fn of_link(number: usize, dir: &[u8]) -> Vec<u8> {
    format!("l{number}.{:08x}", hash(dir)).into_bytes()
}

/// A name for a directory that everyone can work out.
pub(crate) fn of_dir_at(slot: usize, dir: &[u8]) -> Vec<u8> {
    name('d', slot, dir)
}

/// The same for a file.
pub(crate) fn of_file_at(slot: usize, dir: &[u8]) -> Vec<u8> {
    name('f', slot, dir)
}

/// Most are plain: those are the ones that are used again and again.
fn usual_slot(rng: &mut Rng) -> usize {
    if rng.chance(3, 4) { rng.below(5) } else { 5 + rng.below(SLOTS - 5) }
}

/// Whether the name is one that directories are given. One may come to stand for a file, and the
/// other way round, only by an exchange.
pub(crate) fn is_for_dir(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'd' | b'A'))
}

/// Whether the name was given in a directory of that path; `None` if it does not say.
pub(crate) fn says(name: &[u8], dir: &[u8]) -> Option<bool> {
    let is_ours = matches!(name.first()?, b'd' | b'f' | b'l');
    let digits = name[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let said = name[1 + digits..].strip_prefix(b".").filter(|_| is_ours && digits > 0)?.get(..8)?;
    let said = u32::from_str_radix(std::str::from_utf8(said).ok()?, 16).ok()?;
    Some(said == hash(dir))
}

/// The same for a path and the root that it is below.
pub(crate) fn path_says(path: &Path, root: &Path) -> Option<bool> {
    let below = path.strip_prefix(root).ok()?;
    let dir = below.parent()?.as_os_str().as_bytes();
    says(below.file_name().map(OsStr::as_bytes)?, dir)
}

#[test]
fn a_name_says_where_it_was_given() {
    for slot in 0..SLOTS - 1 {
        let name = name('f', slot, b"a/b");
        assert_eq!((says(&name, b"a/b"), says(&name, b"a/c")), (Some(true), Some(false)));
        let path = Path::new("/root/a/b").join(OsStr::from_bytes(&name));
        assert_eq!(path_says(&path, Path::new("/root")), Some(true));
        assert_eq!(path_says(&path, Path::new("/root/a")), Some(false));
    }
    let link = of_link(120, b"a/b");
    assert_eq!((says(&link, b"a/b"), says(&link, b"a/c")), (Some(true), Some(false)));
    assert_eq!((says(b"plain name", b""), says(b"", b""), says(b"f", b"")), (None, None, None));
}
