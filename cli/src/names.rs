//! Names for numbers: users and control groups, looked up on this host as processes come up.
//!
//! The engine tells ids only. The names become strings of the mirror, with ids above those that
//! the engine gives out, and process images refer to them: so everything downstream, the binary
//! stream included, finds them in one place.

use crate::limits::{CGROUPS_MAX, USERS_MAX};
use fsmon_engine::limits;
use fsmon_format::mirror::{Defined, Mirror};
use fsmon_format::record::{Build, Proc, Record, proc_flag};
use std::collections::HashMap;

/// Strings that a mirror must have room for when [`Names`] adds to it.
pub(crate) const STRING_IDS: usize = limits::STRING_IDS + USERS_MAX + CGROUPS_MAX;

const USERS_FIRST: u32 = limits::STRING_IDS as u32 + 1;
const CGROUPS_FIRST: u32 = USERS_FIRST + USERS_MAX as u32;

type Lookup<Id> = Box<dyn Fn(Id) -> Option<Vec<u8>> + Send>;

/// What was looked up so far.
pub(crate) struct Names {
    users: HashMap<u32, u32>,
    cgroups: Cgroups,
    find_user: Lookup<u32>,
    find_cgroup: Lookup<u64>,
    build: Box<Build>,
    /// Strings defined by the last call of [`Names::fill_in`].
    fresh: Vec<u32>,
}

impl Names {
    /// Looks names up on this host.
    pub(crate) fn of_this_host() -> Self {
        Names::from_lookups(Box::new(user_name), Box::new(fsmon_engine::cgroup_path))
    }

    pub(crate) fn from_lookups(find_user: Lookup<u32>, find_cgroup: Lookup<u64>) -> Self {
        Names {
            users: HashMap::with_capacity(USERS_MAX),
            cgroups: Cgroups::default(),
            find_user,
            find_cgroup,
            build: Box::default(),
            fresh: Vec::with_capacity(2),
        }
    }

    /// Sets `user` and `cgroup` of an image that is about to be defined in `mirror`.
    pub(crate) fn fill_in(&mut self, image: &mut Proc, mirror: &mut Mirror) {
        self.fresh.clear();
        if let Some(old) = mirror.proc(image.id.get()) {
            self.cgroups.release(old.cgroup.get());
        }
        if image.user.get() == 0 && image.flags.get() & proc_flag::CRED != 0 {
            image.user = self.user(image.uid.get(), mirror).into();
        }
        if image.cgroup.get() == 0 && image.cgroup_id.get() != 0 {
            image.cgroup = self.cgroup(image.cgroup_id.get(), mirror).into();
        }
        self.cgroups.retain(image.cgroup.get());
    }

    /// Strings that the last image brought with it: a recycled id may stand among them.
    pub(crate) fn new_strings(&self) -> &[u32] {
        &self.fresh
    }

    fn user(&mut self, uid: u32, mirror: &mut Mirror) -> u32 {
        match self.users.get(&uid) {
            Some(string) => *string,
            None => self.new_user(uid, mirror),
        }
    }

    #[cold]
    fn new_user(&mut self, uid: u32, mirror: &mut Mirror) -> u32 {
        if self.users.len() == USERS_MAX {
            return 0;
        }
        let string = match (self.find_user)(uid) {
            Some(name) => self.define(USERS_FIRST + self.users.len() as u32, &name, mirror),
            None => 0,
        };
        self.users.insert(uid, string);
        string
    }

    fn cgroup(&mut self, id: u64, mirror: &mut Mirror) -> u32 {
        match self.cgroups.by_id.get(&id) {
            Some(slot) => CGROUPS_FIRST + slot,
            None => self.new_cgroup(id, mirror),
        }
    }

    /// One that is gone already is not remembered: it will not be asked for often.
    #[cold]
    fn new_cgroup(&mut self, id: u64, mirror: &mut Mirror) -> u32 {
        let Some(path) = (self.find_cgroup)(id) else { return 0 };
        let Some(slot) = self.cgroups.slot_for(id) else { return 0 };
        self.define(CGROUPS_FIRST + slot, &path, mirror)
    }

    fn define(&mut self, string: u32, text: &[u8], mirror: &mut Mirror) -> u32 {
        let Some((record, _)) = Record::split_first(self.build.str(string, text)) else { return 0 };
        match mirror.define(&record.body()) {
            Defined::Str(string) => {
                self.fresh.push(string);
                string
            }
            _ => 0,
        }
    }
}

/// Which control group has which string. A job's group lives for minutes and there is no end of
/// them, so a string is given to another group once no image refers to it any more.
struct Cgroups {
    by_id: HashMap<u64, u32>,
    slots: Vec<Slot>,
    /// Where to look next for a slot without references.
    hand: usize,
}

struct Slot {
    id: u64,
    images: u32,
}

impl Default for Cgroups {
    fn default() -> Self {
        Cgroups {
            by_id: HashMap::with_capacity(CGROUPS_MAX),
            slots: Vec::with_capacity(CGROUPS_MAX),
            hand: 0,
        }
    }
}

impl Cgroups {
    fn slot_for(&mut self, id: u64) -> Option<u32> {
        let index = if self.slots.len() < CGROUPS_MAX {
            self.slots.push(Slot { id, images: 0 });
            self.slots.len() - 1
        } else {
            let free = (0..CGROUPS_MAX)
                .map(|step| (self.hand + step) % CGROUPS_MAX)
                .find(|index| self.slots[*index].images == 0)?;
            self.hand = free + 1;
            self.by_id.remove(&self.slots[free].id);
            self.slots[free].id = id;
            free
        };
        self.by_id.insert(id, index as u32);
        Some(index as u32)
    }

    fn retain(&mut self, string: u32) {
        if let Some(slot) = self.slot(string) {
            slot.images += 1;
        }
    }

    fn release(&mut self, string: u32) {
        if let Some(slot) = self.slot(string) {
            slot.images -= 1;
        }
    }

    fn slot(&mut self, string: u32) -> Option<&mut Slot> {
        self.slots.get_mut(string.checked_sub(CGROUPS_FIRST)? as usize)
    }
}

fn user_name(uid: u32) -> Option<Vec<u8>> {
    let user = nix::unistd::User::from_uid(uid.into()).ok()??;
    Some(user.name.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fixture::{capacity, image};

    fn named() -> (Names, Mirror) {
        let names = Names::from_lookups(
            Box::new(|uid| (uid != 99).then(|| format!("user{uid}").into_bytes())),
            Box::new(|id| (id != 99).then(|| format!("/job/{id}").into_bytes())),
        );
        (names, Mirror::new(capacity()))
    }

    fn fill_in(names: &mut Names, mirror: &mut Mirror, id: u32, cgroup: u64) -> Option<String> {
        let mut image = image(id, 1000 + id, "cc");
        image.cgroup_id = cgroup.into();
        names.fill_in(&mut image, mirror);
        mirror.define(&fsmon_format::record::Body::Proc(&image));
        let path = mirror.string(image.cgroup.get())?;
        Some(String::from_utf8(path.to_vec()).expect("UTF-8"))
    }

    #[test]
    fn users_and_groups_become_strings() {
        let (mut names, mut mirror) = named();
        assert_eq!(fill_in(&mut names, &mut mirror, 1, 7).as_deref(), Some("/job/7"));
        assert_eq!(fill_in(&mut names, &mut mirror, 2, 7).as_deref(), Some("/job/7"));
        assert_eq!(fill_in(&mut names, &mut mirror, 3, 99), None);
        let image = mirror.proc(1).expect("defined");
        assert_eq!(mirror.string(image.user.get()), Some(&b"user0"[..]));
    }

    #[test]
    fn a_group_makes_room_once_no_image_refers_to_it() {
        let (mut names, mut mirror) = named();
        fill_in(&mut names, &mut mirror, 1, 1_000_000);
        for group in 0..2 * CGROUPS_MAX as u64 {
            let path = fill_in(&mut names, &mut mirror, 2, 1_000_001 + group);
            assert_eq!(path, Some(format!("/job/{}", 1_000_001 + group)));
        }
        let held = mirror.proc(1).expect("defined").cgroup.get();
        assert_eq!(mirror.string(held), Some(&b"/job/1000000"[..]));
    }
}
