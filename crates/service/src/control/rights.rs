//! Who may send which command.
//!
//! | caller | may |
//! |---|---|
//! | uid 0, and the user that the daemon runs as | everything |
//! | members of `control.group` | `status`, `list`, `flush`, `sync`, `metrics` |
//! | others | nothing |

use super::protocol::Command;
use fsmon_format::error::{Error, ErrorKind};
use nix::unistd::{Gid, Uid, User, getgrouplist};
use std::ffi::CString;

/// The process at the other end of a connection, as SO_PEERCRED has it: unix(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

/// What a caller is to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Root, or the daemon's own user.
    Owner,
    /// A member of the control group.
    Member,
    /// Anybody else.
    Other,
}

impl Caller {
    /// Asks the database of groups at each call, so that a change of members holds at once.
    pub(crate) fn of(peer: Peer, group: Option<Gid>) -> Caller {
        if peer.uid.is_root() || peer.uid == Uid::effective() {
            return Caller::Owner;
        }
        match group {
            Some(group) if peer.gid == group || is_member(peer.uid, group) => Caller::Member,
            _ => Caller::Other,
        }
    }

    /// # Errors
    /// The caller may not send this command; the error says who may.
    pub(crate) fn check(self, command: &Command) -> Result<(), Error> {
        let may = match self {
            Caller::Owner => true,
            Caller::Member => is_harmless(command),
            Caller::Other => false,
        };
        if may {
            return Ok(());
        }
        let who = if is_harmless(command) {
            "root and members of the daemon's control group"
        } else {
            "root and the daemon's own user"
        };
        Err(Error::new(
            ErrorKind::Permission,
            format!("not permitted: only {who} may send {}", command.name()),
        ))
    }
}

/// Whether a command neither changes what is recorded nor deletes anything.
fn is_harmless(command: &Command) -> bool {
    match command {
        Command::Status | Command::List | Command::Flush | Command::Sync | Command::Metrics => true,
        Command::Add { .. }
        | Command::Remove { .. }
        | Command::Rotate
        | Command::Reload
        | Command::Clean { .. } => false,
    }
}

fn is_member(uid: Uid, group: Gid) -> bool {
    let Ok(Some(user)) = User::from_uid(uid) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Vec<Command> {
        vec![
            Command::Status,
            Command::List,
            Command::Flush,
            Command::Sync,
            Command::Metrics,
            Command::Rotate,
            Command::Reload,
            Command::Remove { path: "/srv".into() },
            Command::Clean { dry_run: true, keep: None },
        ]
    }

    #[test]
    fn the_table() {
        let allowed = |caller: Caller| -> Vec<&str> {
            let all = commands();
            let allowed = all.iter().filter(|command| caller.check(command).is_ok());
            allowed.map(Command::name).collect()
        };
        assert_eq!(allowed(Caller::Owner).len(), commands().len());
        assert_eq!(allowed(Caller::Member), ["status", "list", "flush", "sync", "metrics"]);
        assert_eq!(allowed(Caller::Other), [""; 0]);
        let error = Caller::Other.check(&Command::Rotate).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Permission);
    }

    #[test]
    fn root_is_an_owner_and_nobody_is_not() {
        let peer = |uid, gid| Peer { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) };
        assert_eq!(Caller::of(peer(0, 0), None), Caller::Owner);
        let (nobody, group) = (peer(65534, 65534), Gid::from_raw(4711));
        assert_eq!(Caller::of(nobody, None), Caller::Other);
        assert_eq!(Caller::of(nobody, Some(group)), Caller::Other);
        assert_eq!(Caller::of(peer(65534, 4711), Some(group)), Caller::Member);
    }
}
