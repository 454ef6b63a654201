//! The filter on processes: one verdict for each image, decided when it is defined.

use super::{Source, about, globs};
use crate::filter::Criteria;
use crate::limits::FAMILY_MAX;
use crate::text::comm;
use fsmon_format::error::{Error, ErrorKind, Setting};
use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::record::{Proc, proc_flag};
use globset::{Candidate, GlobSet};
use std::path::Path;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pending = 0,
    No = 1,
    Yes = 2,
}

impl From<bool> for Verdict {
    fn from(passes: bool) -> Self {
        if passes { Verdict::Yes } else { Verdict::No }
    }
}

struct User {
    uid: Option<u32>,
    name: Vec<u8>,
}

/// The criteria on processes, and the verdict on each image.
pub struct Who {
    cmd: Option<GlobSet>,
    exclude_cmd: Option<GlobSet>,
    exe: Option<GlobSet>,
    users: Vec<User>,
    exclude_users: Vec<User>,
    cgroup: Option<GlobSet>,
    exclude_cgroup: Option<GlobSet>,
    pid: Option<u32>,
    /// When process `pid` was forked; `None`: whichever had that pid.
    started_ns: Option<u64>,
    source: Source,
    /// By image id: whether it meets all criteria.
    passes: Vec<Verdict>,
    /// By image id: whether it is of process `pid` or a descendant of it.
    family: Vec<Verdict>,
}

impl Who {
    /// `None` if there is no criterion.
    ///
    /// # Errors
    /// A bad glob; while this host is watched, also an unknown user or process.
    pub fn new(args: &Criteria, source: Source, capacity: Capacity) -> Result<Option<Self>, Error> {
        let cmd = globs::names(Setting::Cmd, Setting::ExcludeCmd, &args.cmd)?;
        let exclude_cmd = globs::names(Setting::ExcludeCmd, Setting::Cmd, &args.exclude_cmd)?;
        let exe = globs::exes(&args.exe)?;
        let users = parse_users(&args.user, Setting::User, source)?;
        let exclude_users = parse_users(&args.exclude_user, Setting::ExcludeUser, source)?;
        let cgroup = globs::cgroups(Setting::Cgroup, Setting::ExcludeCgroup, &args.cgroup)?;
        let exclude_cgroup =
            globs::cgroups(Setting::ExcludeCgroup, Setting::Cgroup, &args.exclude_cgroup)?;
        if let Some(pid) = args.pid.filter(|_| source == Source::Live) {
            must_exist(pid)?;
        }
        let globs = [&cmd, &exclude_cmd, &exe, &cgroup, &exclude_cgroup];
        let is_none = globs.iter().all(|globs| globs.is_none());
        if is_none && users.is_empty() && exclude_users.is_empty() && args.pid.is_none() {
            return Ok(None);
        }
        let images = capacity.processes + 1;
        Ok(Some(Who {
            cmd,
            exclude_cmd,
            exe,
            users,
            exclude_users,
            cgroup,
            exclude_cgroup,
            pid: args.pid,
            started_ns: args.started_ns,
            source,
            passes: vec![Verdict::Pending; images],
            family: vec![Verdict::Pending; images],
        }))
    }

    /// An image was defined. If its parent is known, its family is decided now: later the parent's id may
    /// stand for another image.
    pub fn defined(&mut self, mirror: &Mirror, id: u32) {
        let Some(passes) = self.passes.get_mut(id as usize) else { return };
        *passes = Verdict::Pending;
        if self.pid.is_some() {
            self.family[id as usize] = Verdict::Pending;
            let elders = mirror.proc(id).map(|image| self.elder(mirror, image));
            if elders.is_some_and(|elder| elder.is_some()) {
                self.is_family(mirror, id);
            }
        }
    }

    /// All ids stand for other images from now on.
    pub fn forget(&mut self) {
        self.passes.fill(Verdict::Pending);
        self.family.fill(Verdict::Pending);
    }

    /// Whether events of image `id` are shown. An unknown process meets no criterion, and is not excluded.
    #[inline]
    pub fn passes(&mut self, mirror: &Mirror, id: u32) -> bool {
        match self.passes.get(id as usize) {
            Some(Verdict::Yes) => true,
            Some(Verdict::No) => false,
            _ => self.decide(mirror, id),
        }
    }

    #[cold]
    fn decide(&mut self, mirror: &Mirror, id: u32) -> bool {
        let Some(image) = mirror.proc(id).filter(|_| id != 0) else {
            let is_any = self.cmd.is_none() && self.users.is_empty() && self.cgroup.is_none();
            return is_any && self.exe.is_none() && self.pid.is_none();
        };
        let passes = self.cmd_passes(image)
            && self.exe_passes(mirror, image)
            && self.user_passes(mirror, image)
            && self.cgroup_passes(mirror, image)
            && (self.pid.is_none() || self.is_family(mirror, id));
        if let Some(kept) = self.passes.get_mut(id as usize) {
            *kept = passes.into();
        }
        passes
    }

    fn cmd_passes(&self, image: &Proc) -> bool {
        let known = image.flags.get() & proc_flag::COMM != 0;
        let matches = |globs: &GlobSet| {
            known && globs.is_match_candidate(&Candidate::from_bytes(comm(image)))
        };
        self.cmd.as_ref().is_none_or(matches) && !self.exclude_cmd.as_ref().is_some_and(matches)
    }

    fn exe_passes(&self, mirror: &Mirror, image: &Proc) -> bool {
        let path = mirror.string(image.exe.get());
        let matches = |globs: &GlobSet| {
            path.is_some_and(|path| globs.is_match_candidate(&Candidate::from_bytes(path)))
        };
        self.exe.as_ref().is_none_or(matches)
    }

    fn user_passes(&self, mirror: &Mirror, image: &Proc) -> bool {
        let is_one_of = |users: &[User]| users.iter().any(|user| self.is_user(user, mirror, image));
        (self.users.is_empty() || is_one_of(&self.users)) && !is_one_of(&self.exclude_users)
    }

    fn is_user(&self, user: &User, mirror: &Mirror, image: &Proc) -> bool {
        let uid = (image.flags.get() & proc_flag::CRED != 0).then(|| image.uid.get());
        let is_uid = uid.is_some() && user.uid == uid;
        match self.source {
            Source::Live => is_uid,
            Source::Recorded => is_uid || mirror.string(image.user.get()) == Some(&user.name[..]),
        }
    }

    fn cgroup_passes(&self, mirror: &Mirror, image: &Proc) -> bool {
        let path = mirror.string(image.cgroup.get());
        let matches = |globs: &GlobSet| {
            path.is_some_and(|path| globs.is_match_candidate(&Candidate::from_bytes(path)))
        };
        self.cgroup.as_ref().is_none_or(matches)
            && !self.exclude_cgroup.as_ref().is_some_and(matches)
    }

    fn is_family(&mut self, mirror: &Mirror, id: u32) -> bool {
        let mut at = id;
        let mut verdict = Verdict::No;
        for _ in 0..FAMILY_MAX {
            let Some(kept) = self.family.get(at as usize) else { break };
            if *kept != Verdict::Pending {
                verdict = *kept;
                break;
            }
            let Some(image) = mirror.proc(at) else { break };
            if self.is_named(image) {
                verdict = Verdict::Yes;
                break;
            }
            let Some(elder) = self.elder(mirror, image) else { break };
            at = elder;
        }
        if let Some(kept) = self.family.get_mut(id as usize) {
            *kept = verdict;
        }
        verdict == Verdict::Yes
    }

    /// Whether the image is of the process that `pid` names. Live, that process ran before the watch began; one
    /// forked later only reuses its pid.
    fn is_named(&self, image: &Proc) -> bool {
        Some(image.pid.get()) == self.pid
            && self.started_ns.is_none_or(|started_ns| image.start_ns.get() == started_ns)
            && (self.source == Source::Recorded || image.start_ns.get() == 0)
    }

    /// The previous image of the same process, or else its parent's. `None` if that is not known or its id
    /// stands for another image by now.
    fn elder(&self, mirror: &Mirror, image: &Proc) -> Option<u32> {
        let is = |id: u32, pid| mirror.proc(id).is_some_and(|elder| elder.pid == pid);
        let (prev, parent) = (image.prev.get(), image.parent.get());
        if is(prev, image.pid) {
            return Some(prev);
        }
        is(parent, image.ppid).then_some(parent)
    }
}

fn parse_users(names: &[String], setting: Setting, source: Source) -> Result<Vec<User>, Error> {
    let user = |name: &String| parse_user(name, source).map_err(|error| about(setting, error));
    names.iter().map(user).collect()
}

/// Parses a user name or uid. A recorded stream may come from a host with other users, so its names are not
/// looked up.
fn parse_user(text: &str, source: Source) -> Result<User, Error> {
    if text.is_empty() || text.starts_with('!') || text.contains(',') {
        return Err(Error::invalid(format!(
            "bad user '{}'; write one name or uid at a time",
            text.escape_debug()
        )));
    }
    let name = text.as_bytes().to_vec();
    if let Ok(uid) = text.parse() {
        return Ok(User { uid: Some(uid), name });
    }
    if source == Source::Recorded {
        return Ok(User { uid: None, name });
    }
    match nix::unistd::User::from_name(text) {
        Ok(Some(user)) => Ok(User { uid: Some(user.uid.as_raw()), name }),
        Ok(None) => Err(Error::new(
            ErrorKind::NotFound,
            format!("unknown user '{}'; see getent passwd, or give the uid", text.escape_debug()),
        )),
        Err(error) => Err(Error::os(
            format!("cannot look up user '{}'; give the uid", text.escape_debug()),
            error.into(),
        )),
    }
}

fn must_exist(pid: u32) -> Result<(), Error> {
    if pid != 0 && Path::new(&format!("/proc/{pid}")).exists() {
        return Ok(());
    }
    let line = format!("there is no process {pid}; see ps -e for those that run");
    Err(about(Setting::Pid, Error::new(ErrorKind::NotFound, line)))
}
