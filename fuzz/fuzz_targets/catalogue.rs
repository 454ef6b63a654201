//! Any bytes as the catalogue of a history, as they are and under right checksums.

#![no_main]

use fsmon_store::history::Catalogue;
use libfuzzer_sys::fuzz_target;

/// Bytes of the header; its checksum is the last of it.
const HEADER: usize = 128;

/// Makes the magic, the version, both lengths and both checksums right.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut sealed = bytes.to_vec();
    let (header, body) = sealed.split_at_mut_checked(HEADER)?;
    header[..8].copy_from_slice(b"\x89FSC\r\n\x1a\n");
    header[8..10].copy_from_slice(&1u16.to_le_bytes());
    header[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
    header[24..28].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let crc = crc32c::crc32c(&header[..HEADER - 4]);
    header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    Some(sealed)
}

/// What is read is written and read alike, and names nothing outside its directory.
fn check(bytes: &[u8]) {
    let Ok(catalogue) = Catalogue::decode(bytes) else { return };
    for entry in catalogue.entries() {
        assert!(entry.file.ends_with(".fsmon") && !entry.file.contains('/'));
    }
    assert_eq!(Catalogue::decode(&catalogue.encode()), Ok(catalogue));
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Some(sealed) = sealed(bytes) {
        check(&sealed);
    }
});
