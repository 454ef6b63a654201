//! The clocks of this host, as the history wants them.

use fsmon_store::history::Now;

/// What does not change while the host is up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    boot_id: [u8; 16],
}

impl Clocks {
    pub(crate) fn of_this_host(boot_id: [u8; 16]) -> Self {
        Clocks { boot_id }
    }

    pub(crate) fn now(self) -> Now {
        Now::of_this_host(self.boot_id, fsmon_engine::is_clock_synchronised())
    }
}
