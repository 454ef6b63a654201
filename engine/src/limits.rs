//! Every limit of the engine, with its reason.

/// Directories known at one time, unless configured. Room is reserved, and paged in as used.
pub const DIRS_DEFAULT: usize = 1 << 20;
/// The most that can be configured: node ids and ring ids are 32 bits, with room to spare.
pub const DIRS_MAX: usize = 1 << 26;
/// Process images known at one time, unless configured. A consumer that stalls for ten seconds
/// at 10,000 short-lived processes a second, two images each, fits.
pub const PROCESSES_DEFAULT: usize = 1 << 18;
/// The most that can be configured.
pub const PROCESSES_MAX: usize = 1 << 22;
/// Slots of 64 bytes between reader and formatter: 4 MiB, some 60 ms of the heaviest churn.
pub const RING_SLOTS: usize = 1 << 16;
/// The longest time for which events are gathered before a batch is read.
pub const BATCH_WINDOW_MAX_MS: u64 = 1000;
/// Distinct exe names known at one time; a name without room is reported as not known.
pub const STRINGS_MAX: usize = 1 << 16;
/// Bytes for all exe names together.
pub const STRINGS_BYTES: usize = 8 << 20;

const _: () = {
    assert!(DIRS_DEFAULT <= DIRS_MAX && DIRS_MAX < u32::MAX as usize);
    assert!(PROCESSES_DEFAULT <= PROCESSES_MAX && PROCESSES_MAX < u32::MAX as usize);
    assert!(RING_SLOTS.is_power_of_two());
    assert!(RING_SLOTS > 4 * fsmon_format::record::SLOTS_MAX);
};
