//! Names of users on this host. A name is at most ten seconds old.
//!
//! The formatter itself looks users up in /etc/passwd: one stat(2) of a local file shows whether it changed.
//! A separate thread asks the C library for all other users (LDAP, systemd's DynamicUser, all that nsswitch.conf
//! names), as a directory service can take seconds to answer. The formatter waits some milliseconds for an
//! answer, and not at all while an earlier one is late; until it comes a line has the uid and no name.

use crate::limits::{
    USER_AGE_MAX, USER_AGE_RENEWED, USER_CHECK, USER_PATIENCE, USERS_ASKED_MAX, USERS_FILE_BYTES,
    USERS_FILE_SETTLED, USERS_MAX,
};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Instant, SystemTime};

/// Finds a user's name, however long that takes.
pub type Lookup = Box<dyn Fn(u32) -> Option<Vec<u8>> + Send>;

/// All users of a host.
pub struct Users {
    local: Local,
    others: Others,
}

impl Users {
    /// The users of this host.
    pub fn of_this_host() -> Self {
        Users::new("/etc/passwd".into(), Box::new(ask_the_system))
    }

    pub fn new(passwd: PathBuf, lookup: Lookup) -> Self {
        Users { local: Local::new(passwd), others: Others::new(lookup) }
    }

    /// Reads /etc/passwd again if it changed. Returns whether it did: then names may have changed.
    pub fn refresh(&mut self) -> bool {
        self.local.refresh()
    }

    /// Takes the answers that have come in. Returns whether there were any.
    pub fn take_answers(&mut self) -> bool {
        self.others.take_answers()
    }

    /// The name of a user; `None` if it has none, or none is known yet.
    pub fn name(&mut self, uid: u32) -> Option<&[u8]> {
        match self.local.names.get(&uid) {
            Some(name) => Some(name),
            None => self.others.name(uid),
        }
    }
}

/// The users in /etc/passwd.
struct Local {
    path: PathBuf,
    /// The file's stamp when it was read.
    stamp: Option<Stamp>,
    /// When it was read, if that was so soon after a change that another change may leave the same stamp.
    unsettled: Option<Instant>,
    names: HashMap<u32, Box<[u8]>>,
}

/// Metadata that changes when the file does.
#[derive(PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Local {
    fn new(path: PathBuf) -> Self {
        let mut local = Local { path, stamp: None, unsettled: None, names: HashMap::new() };
        local.refresh();
        local
    }

    fn refresh(&mut self) -> bool {
        let stamp = self.path.metadata().ok().map(|data| Stamp {
            file: (data.dev(), data.ino()),
            len: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        });
        let is_due = self.unsettled.is_some_and(|since| since.elapsed() >= USER_CHECK);
        let is_read = stamp != self.stamp || is_due;
        if is_read {
            self.read(stamp);
        }
        is_read
    }

    #[cold]
    fn read(&mut self, stamp: Option<Stamp>) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let settled = now.saturating_sub(USERS_FILE_SETTLED).as_secs().cast_signed();
        let mut text = Vec::new();
        let file = File::open(&self.path).map(|file| file.take(USERS_FILE_BYTES));
        let read = file.and_then(|mut file| file.read_to_end(&mut text));
        let is_settled =
            stamp.as_ref().is_none_or(|stamp| read.is_ok() && stamp.changed.0 < settled);
        self.unsettled = (!is_settled).then(Instant::now);
        self.stamp = stamp;
        // If it cannot be read, as while it is being replaced, no names are known.
        self.names.clear();
        for (uid, name) in text.split(|byte| *byte == b'\n').filter_map(user) {
            // The first line counts, as for getpwuid(3).
            self.names.entry(uid).or_insert_with(|| name.into());
        }
    }
}

/// Parses `name:password:uid:...`, passwd(5). Lines that begin with + or - are about other sources. A line
/// that ends within the uid is incomplete, as while the file is being written.
fn user(line: &[u8]) -> Option<(u32, &[u8])> {
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next().filter(|name| !name.is_empty() && !b"+-#".contains(&name[0]))?;
    let uid = str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
    fields.next().map(|_| (uid, name))
}

/// Users that are not in /etc/passwd.
struct Others {
    known: HashMap<u32, Answer>,
    /// Asked for and not answered yet.
    asked: HashSet<u32>,
    /// An answer did not come in time, and no other has come since.
    is_late: bool,
    thread: Asked,
}

/// An answer, and when the question was asked.
struct Answer {
    name: Option<Box<[u8]>>,
    at: Instant,
}

/// The thread that asks the C library. Most hosts do not need it.
enum Asked {
    NotYet(Lookup),
    Running(SyncSender<u32>, Receiver<(u32, Answer)>),
    /// It could not be started.
    Never,
}

impl Others {
    fn new(lookup: Lookup) -> Self {
        let (known, asked) = (HashMap::new(), HashSet::new());
        Others { known, asked, is_late: false, thread: Asked::NotYet(lookup) }
    }

    fn name(&mut self, uid: u32) -> Option<&[u8]> {
        let age = self.known.get(&uid).map(|answer| answer.at.elapsed());
        match age {
            Some(age) if age < USER_AGE_RENEWED => {}
            // Renewed before it expires, so that no line has to wait.
            Some(age) if age < USER_AGE_MAX => self.ask(uid),
            _ => {
                self.ask(uid);
                self.wait_for(uid);
            }
        }
        let answer = self.known.get(&uid).filter(|answer| answer.at.elapsed() < USER_AGE_MAX)?;
        answer.name.as_deref()
    }

    fn ask(&mut self, uid: u32) {
        if let Asked::NotYet(_) = self.thread {
            let Asked::NotYet(lookup) = std::mem::replace(&mut self.thread, Asked::Never) else {
                return;
            };
            self.thread = start(lookup);
        }
        let Asked::Running(questions, _) = &self.thread else { return };
        if self.asked.len() < USERS_ASKED_MAX && !self.asked.contains(&uid) {
            match questions.try_send(uid) {
                Ok(()) => drop(self.asked.insert(uid)),
                // The next use asks again.
                Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Disconnected(_)) => self.thread = Asked::Never,
            }
        }
    }

    fn wait_for(&mut self, uid: u32) {
        let deadline = Instant::now() + USER_PATIENCE;
        while !self.is_late && self.asked.contains(&uid) {
            let Asked::Running(_, answers) = &self.thread else { return };
            match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((uid, answer)) => self.take(uid, answer),
                Err(RecvTimeoutError::Timeout) => self.is_late = true,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take_answers(&mut self) -> bool {
        let mut any = false;
        while let Asked::Running(_, answers) = &self.thread
            && !self.asked.is_empty()
            && let Ok((uid, answer)) = answers.try_recv()
        {
            self.take(uid, answer);
            any = true;
        }
        any
    }

    fn take(&mut self, uid: u32, answer: Answer) {
        self.is_late = false;
        self.asked.remove(&uid);
        if self.known.len() >= USERS_MAX {
            self.known.retain(|_, answer| answer.at.elapsed() < USER_AGE_MAX);
        }
        if self.known.len() >= USERS_MAX {
            // That many users at a time are unusual: start over, and ask again for those in use.
            self.known.clear();
        }
        self.known.insert(uid, answer);
    }
}

/// The thread ends when the channel closes. If it still waits for an answer, the process exits without it.
fn start(lookup: Lookup) -> Asked {
    let (questions, asked) = sync_channel::<u32>(USERS_ASKED_MAX);
    let (answers, answered) = sync_channel(USERS_ASKED_MAX);
    let answer = move || {
        for uid in asked {
            let at = Instant::now();
            let name = lookup(uid).map(Vec::into_boxed_slice);
            if answers.send((uid, Answer { name, at })).is_err() {
                break;
            }
        }
    };
    match thread::Builder::new().name("fsmon-users".into()).spawn(answer) {
        Ok(_) => Asked::Running(questions, answered),
        Err(_) => Asked::Never,
    }
}

fn ask_the_system(uid: u32) -> Option<Vec<u8>> {
    let user = nix::unistd::User::from_uid(uid.into()).ok()??;
    Some(user.name.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// How long anything may take.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Until user 5 has that name.
    fn wait_for_name(users: &mut Users, name: &[u8]) {
        let began = Instant::now();
        while users.name(5) != Some(name) {
            users.take_answers();
            assert!(began.elapsed() < PATIENCE, "{:?}", users.name(5));
        }
    }

    fn nobody() -> Lookup {
        Box::new(|_| None)
    }

    #[test]
    fn the_file_is_read_again_when_it_changes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("passwd");
        fs::write(&path, "root:x:0:0::/:/bin/sh\nold:x:7:7::/:\nother:x:7:7::/:\n")
            .expect("written");
        let mut users = Users::new(path.clone(), nobody());
        assert_eq!(users.name(0), Some(&b"root"[..]));
        assert_eq!(users.name(7), Some(&b"old"[..]));
        // In place, of the same length, and within the same tick: seen at the latest when it is read again.
        fs::write(&path, "root:x:0:0::/:/bin/sh\nnew:x:7:7::/:\nother:x:7:7::/:\n")
            .expect("written");
        let began = Instant::now();
        while users.name(7) != Some(b"new") {
            users.refresh();
            assert!(began.elapsed() < 100 * USER_CHECK, "{:?}", users.name(7));
        }
        fs::remove_file(&path).expect("removed");
        users.refresh();
        assert_eq!(users.name(7), None);
        let beside = dir.path().join("passwd+");
        fs::write(&beside, "+@nis:::\n-x:x:7:\n:x:7:\n#c:x:7:\nbad\nbad:x:y:\nlate:x:7:7::/:")
            .expect("written");
        fs::rename(&beside, &path).expect("renamed");
        users.refresh();
        assert_eq!(users.name(7), Some(&b"late"[..]));
    }

    #[test]
    fn an_incomplete_line_is_no_user() {
        assert_eq!(user(b"cut:x:5241:"), Some((5241, &b"cut"[..])));
        for cut in ["cut:x:524", "cut:x:", "cut:x", "cut", ""] {
            assert_eq!(user(cut.as_bytes()), None, "{cut}");
        }
    }

    #[test]
    fn a_slow_service_is_waited_for_once() {
        let (answer, answers) = channel::<Option<Vec<u8>>>();
        let slow = Box::new(move |_| answers.recv().ok()?);
        let mut users = Users::new("/no/such/file".into(), slow);
        let began = Instant::now();
        for _ in 0..1000 {
            for uid in [5, 6] {
                assert_eq!(users.name(uid), None);
            }
        }
        // Once, not a thousand times.
        assert!(began.elapsed() < 100 * USER_PATIENCE, "{:?}", began.elapsed());
        answer.send(Some(b"five".to_vec())).expect("it waits");
        answer.send(None).expect("it waits");
        while !users.take_answers() || !users.others.asked.is_empty() {
            assert!(began.elapsed() < PATIENCE, "{:?}", users.others.asked);
            thread::yield_now();
        }
        assert_eq!(users.name(5), Some(&b"five"[..]));
        assert!(!users.others.is_late);
        assert_eq!(users.name(6), None);
    }

    #[test]
    fn an_old_answer_is_none_until_there_is_a_new_one() {
        let (answer, answers) = channel::<Option<Vec<u8>>>();
        answer.send(Some(b"old".to_vec())).expect("there");
        let mut users = Users::new("/no/such/file".into(), Box::new(move |_| answers.recv().ok()?));
        wait_for_name(&mut users, b"old");
        let Some(known) = users.others.known.get_mut(&5) else { panic!("known") };
        known.at = known.at.checked_sub(USER_AGE_MAX).expect("this host runs for longer");
        assert_eq!(users.name(5), None);
        answer.send(Some(b"new".to_vec())).expect("asked for again");
        wait_for_name(&mut users, b"new");
    }
}
