//! The header of a binary stream of this host.

use fsmon_engine::plan::Plan;
use fsmon_engine::{Call, Error, refused};
use fsmon_format::stream::Header;
use fsmon_present::wall::Wall;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

/// The header of a stream of this host.
pub fn header(plan: &Plan, types: u32, wall: Wall, stream_id: [u8; 16]) -> Header {
    let (time_ns, realtime_ns) = wall.moment();
    Header {
        stream_id,
        boot_id: id_in("/proc/sys/kernel/random/boot_id"),
        machine_id: id_in("/etc/machine-id"),
        time_ns,
        realtime_ns,
        version: env!("CARGO_PKG_VERSION").into(),
        kernel: plan.kernel.clone().into_bytes(),
        host: std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default().trim_ascii().into(),
        types,
        roots: plan.roots.iter().map(|root| root.path.as_os_str().as_bytes().into()).collect(),
        ..Header::default()
    }
}

/// A random id for a stream.
///
/// # Errors
/// The kernel gives no random numbers.
pub(crate) fn stream_id() -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut id))
        .map_err(|error| refused("cannot read /dev/urandom", Call::Plain, error))?;
    Ok(id)
}

/// The id in a file: 32 hexadecimal digits, with or without dashes; zeros if it has none.
fn id_in(path: &str) -> [u8; 16] {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0).to_be_bytes()
}
