//! Every limit of this crate, with its reason.

use std::time::Duration;

/// How often to try to take a lock that is held: a reader that asks whether a file is written holds it for
/// an instant.
pub(crate) const LOCK_TRIES: u32 = 10;
/// After which time to try again: ten tries take 0.1 s, which a user does not notice.
pub(crate) const LOCK_RETRY: Duration = Duration::from_millis(10);
/// How long a follower sleeps at first: less than fsmon itself holds an event back, so this adds little delay.
pub(crate) const FOLLOW_PAUSE_MIN: Duration = Duration::from_millis(2);
/// How long it sleeps once nothing has come for a while: an idle stream costs ten reads a second.
pub(crate) const FOLLOW_PAUSE_MAX: Duration = Duration::from_millis(100);
/// How long a follower waits for the next segment, which fsmon makes at once; and for new bytes in a file that
/// no fsmon writes to.
pub(crate) const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

const _: () = {
    assert!(0 < FOLLOW_PAUSE_MIN.as_millis());
    assert!(FOLLOW_PAUSE_MIN.as_millis() <= FOLLOW_PAUSE_MAX.as_millis());
    // A follower looks several times before it gives up.
    assert!(10 * FOLLOW_PAUSE_MAX.as_millis() <= GIVEN_UP_AFTER.as_millis());
};
