//! Names of users and control groups, looked up on this host when a process is defined.
//!
//! The engine reports ids only. The names become strings of the mirror, with ids above those of the engine's
//! strings, and process images refer to them. So all formats, the binary stream included, read them from the
//! mirror.
//!
//! A user's name can change while a process runs, so it is looked up again when the process causes an event
//! (`users.rs`). A control group's path cannot: cgroup2 has no rename, and its ids, which are those of kernfs,
//! are not reused on 64 bits.

mod users;

use crate::limits::{CGROUPS_MAX, NAMES_BYTES, USER_CHECK, USERS_FILE_CHECK, USERS_MAX};
use crate::world::Change;
use fsmon_format::mirror::{Capacity, Defined, Mirror};
use fsmon_format::number::to_u32;
use fsmon_format::record::{Body, Build, Proc, Record, proc_flag};
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;
use users::Users;

/// Strings that [`Names`] adds to those of the engine: a mirror must have room for both.
pub const STRINGS: usize = USERS_MAX + CGROUPS_MAX;

/// The capacity that a mirror needs for the engine's definitions and for the names.
#[must_use]
pub fn room(engine: Capacity) -> Capacity {
    Capacity { strings: engine.strings + STRINGS, text: engine.text + NAMES_BYTES, ..engine }
}

/// Finds the name of an id.
pub type Lookup<Id> = Box<dyn Fn(Id) -> Option<Vec<u8>> + Send>;

/// Where the names of users come from.
enum FindUser {
    Host(Box<Users>),
    /// A function that answers at once.
    Fixed(Lookup<u32>),
}

/// The names looked up so far.
pub struct Names {
    users: Strings<u32>,
    cgroups: Strings<u64>,
    find_user: FindUser,
    find_cgroup: Lookup<u64>,
    build: Box<Build>,
    /// What the last call changed, besides its image.
    changes: Vec<Change>,
    /// Names looked up in an earlier epoch are looked up again when they are used.
    epoch: u32,
    /// When the epoch began.
    began: Instant,
    /// When /etc/passwd was last checked for changes.
    looked: Instant,
    /// The highest id of an image so far.
    images: u32,
}

impl Names {
    /// Looks users up on this host. The engine defines strings up to the id `engine_strings`.
    pub fn of_this_host(engine_strings: usize, find_cgroup: Lookup<u64>) -> Self {
        let users = FindUser::Host(Box::new(Users::of_this_host()));
        Names::new(engine_strings, users, find_cgroup)
    }

    /// Looks names up with these functions, which answer at once.
    pub fn from_lookups(
        engine_strings: usize,
        find_user: Lookup<u32>,
        find_cgroup: Lookup<u64>,
    ) -> Self {
        Names::new(engine_strings, FindUser::Fixed(find_user), find_cgroup)
    }

    fn new(engine_strings: usize, find_user: FindUser, find_cgroup: Lookup<u64>) -> Self {
        let users_first = to_u32(engine_strings) + 1;
        Names {
            users: Strings::new(users_first, USERS_MAX),
            cgroups: Strings::new(users_first + to_u32(USERS_MAX), CGROUPS_MAX),
            find_user,
            find_cgroup,
            build: Box::default(),
            changes: Vec::with_capacity(4),
            epoch: 1,
            began: Instant::now(),
            looked: Instant::now(),
            images: 0,
        }
    }

    /// Sets `user` and `cgroup` of an image that is about to be defined in `mirror`.
    pub fn fill_in(&mut self, image: &mut Proc, mirror: &mut Mirror) {
        self.changes.clear();
        self.images = self.images.max(image.id.get());
        if let Some(old) = mirror.proc(image.id.get()) {
            self.cgroups.release(old.cgroup.get());
            self.users.release(old.user.get());
        }
        if image.user.get() == 0 && image.flags.get() & proc_flag::CRED != 0 {
            image.user = self.user(image.uid.get(), mirror).into();
        }
        if image.cgroup.get() == 0 && image.cgroup_id.get() != 0 {
            image.cgroup = self.cgroup(image.cgroup_id.get(), mirror).into();
        }
        self.cgroups.retain(image.cgroup.get());
        self.users.retain(image.user.get());
    }

    /// What the last call changed besides its image: strings (an id may be reused for another name), and
    /// images whose name changed with them.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Call regularly: begins a new epoch if names may have changed.
    pub fn tick(&mut self, now: Instant) {
        let FindUser::Host(users) = &mut self.find_user else { return };
        let is_other = now.saturating_duration_since(self.looked) >= USERS_FILE_CHECK && {
            self.looked = now;
            users.refresh()
        };
        let is_due = now.saturating_duration_since(self.began) >= USER_CHECK;
        if users.take_answers() || is_other || is_due {
            self.begin_epoch(now);
        }
    }

    /// From now on names are looked up again when they are used.
    pub fn begin_epoch(&mut self, now: Instant) {
        self.epoch = self.epoch.wrapping_add(1);
        self.began = now;
    }

    /// Call before an image is shown. Returns whether the name of its user has changed;
    /// [`Names::changes`] then has the consequences.
    #[inline]
    pub fn look_again(&mut self, image: u32, mirror: &mut Mirror) -> bool {
        let Some(image) = mirror.proc(image) else { return false };
        match self.users.slot(image.user.get()) {
            Some(slot) if slot.epoch == self.epoch => false,
            Some(slot) => {
                let uid = slot.id;
                self.rename(image.user.get(), uid, mirror)
            }
            None => image.flags.get() & proc_flag::CRED != 0 && self.name_again(*image, mirror),
        }
    }

    #[cold]
    fn rename(&mut self, string: u32, uid: u32, mirror: &mut Mirror) -> bool {
        self.changes.clear();
        let is_new = self.look_up(string, uid, mirror);
        if is_new {
            self.note_images_of(string, mirror);
        }
        is_new
    }

    /// Names an image again whose user's string was reused for another user.
    #[cold]
    fn name_again(&mut self, mut image: Proc, mirror: &mut Mirror) -> bool {
        self.changes.clear();
        image.user = self.user(image.uid.get(), mirror).into();
        self.users.retain(image.user.get());
        mirror.define(&Body::Proc(&image));
        self.changes.push(Change::Proc(image.id.get()));
        true
    }

    fn user(&mut self, uid: u32, mirror: &mut Mirror) -> u32 {
        let known = self.users.find(uid);
        let string = known.unwrap_or_else(|| self.new_user(uid, mirror));
        if self.users.slot(string).is_some_and(|slot| slot.epoch != self.epoch)
            && self.look_up(string, uid, mirror)
            && known.is_some()
        {
            self.note_images_of(string, mirror);
        }
        string
    }

    /// A string for a user. If none is free, takes the string of the user that was idle for longest.
    #[cold]
    fn new_user(&mut self, uid: u32, mirror: &mut Mirror) -> u32 {
        if let Some(string) = self.users.take(uid) {
            return string;
        }
        let string = self.users.give_up();
        for id in 1..=self.images {
            if let Some(image) = mirror.proc(id).filter(|image| image.user.get() == string) {
                let mut image = *image;
                image.user = 0.into();
                mirror.define(&Body::Proc(&image));
                self.changes.push(Change::Proc(id));
            }
        }
        self.users.take(uid).unwrap_or(0)
    }

    /// Looks a user's name up and defines its string, empty if there is no name. Returns whether the name has
    /// changed.
    fn look_up(&mut self, string: u32, uid: u32, mirror: &mut Mirror) -> bool {
        if let Some(slot) = self.users.slot_mut(string) {
            slot.epoch = self.epoch;
        }
        let fixed;
        let name = match &mut self.find_user {
            FindUser::Host(users) => users.name(uid).unwrap_or_default(),
            FindUser::Fixed(lookup) => {
                fixed = lookup(uid).unwrap_or_default();
                &fixed
            }
        };
        if mirror.string(string).unwrap_or_default() == name {
            return false;
        }
        define(&mut self.build, string, name, mirror);
        self.changes.push(Change::Str(string));
        true
    }

    /// Adds all images with this string to the changes.
    fn note_images_of(&mut self, string: u32, mirror: &Mirror) {
        let is_of = |id: &u32| mirror.proc(*id).is_some_and(|image| image.user.get() == string);
        self.changes.extend((1..=self.images).filter(is_of).map(Change::Proc));
    }

    fn cgroup(&mut self, id: u64, mirror: &mut Mirror) -> u32 {
        match self.cgroups.find(id) {
            Some(string) => string,
            None => self.new_cgroup(id, mirror),
        }
    }

    /// A control group that is gone already is not remembered: it will not be asked for often.
    #[cold]
    fn new_cgroup(&mut self, id: u64, mirror: &mut Mirror) -> u32 {
        let Some(path) = (self.find_cgroup)(id) else { return 0 };
        let Some(string) = self.cgroups.take(id) else { return 0 };
        if !define(&mut self.build, string, &path, mirror) {
            return 0;
        }
        self.changes.push(Change::Str(string));
        string
    }
}

fn define(build: &mut Build, string: u32, text: &[u8], mirror: &mut Mirror) -> bool {
    let Some((record, _)) = Record::split_first(build.str(string, text)) else { return false };
    matches!(mirror.define(&record.body()), Defined::Str(_))
}

/// Which user or control group has which string. Their number is unbounded (a job's group lives for minutes),
/// so a string is reused once no image refers to it.
struct Strings<Id> {
    /// The first id of the strings, and how many there are.
    first: u32,
    most: usize,
    by_id: HashMap<Id, u32>,
    slots: Vec<Slot<Id>>,
    /// Where to look next for a slot without references.
    hand: usize,
}

struct Slot<Id> {
    id: Id,
    images: u32,
    /// The epoch in which the name was looked up last; 0 never.
    epoch: u32,
}

impl<Id: Copy + Eq + Hash> Strings<Id> {
    fn new(first: u32, most: usize) -> Self {
        let (by_id, slots) = (HashMap::with_capacity(most), Vec::with_capacity(most));
        Strings { first, most, by_id, slots, hand: 0 }
    }

    fn find(&self, id: Id) -> Option<u32> {
        self.by_id.get(&id).map(|index| self.first + index)
    }

    /// Assigns a string to `id`; `None` if images refer to all strings.
    fn take(&mut self, id: Id) -> Option<u32> {
        let index = if self.slots.len() < self.most {
            self.slots.push(Slot { id, images: 0, epoch: 0 });
            self.slots.len() - 1
        } else {
            let free = (0..self.most)
                .map(|step| (self.hand + step) % self.most)
                .find(|index| self.slots[*index].images == 0)?;
            self.hand = free + 1;
            self.by_id.remove(&self.slots[free].id);
            self.slots[free] = Slot { id, images: 0, epoch: 0 };
            free
        };
        let index = to_u32(index);
        self.by_id.insert(id, index);
        Some(self.first + index)
    }

    /// Frees the string that was looked up longest ago, though images refer to it.
    fn give_up(&mut self) -> u32 {
        let oldest = (0..self.slots.len()).map(|step| (self.hand + step) % self.most);
        let index = oldest.min_by_key(|index| self.slots[*index].epoch).unwrap_or(0);
        self.slots[index].images = 0;
        self.hand = index;
        self.first + to_u32(index)
    }

    fn retain(&mut self, string: u32) {
        if let Some(slot) = self.slot_mut(string) {
            slot.images += 1;
        }
    }

    fn release(&mut self, string: u32) {
        if let Some(slot) = self.slot_mut(string) {
            slot.images = slot.images.saturating_sub(1);
        }
    }

    #[inline]
    fn slot(&self, string: u32) -> Option<&Slot<Id>> {
        self.slots.get(string.checked_sub(self.first)? as usize)
    }

    fn slot_mut(&mut self, string: u32) -> Option<&mut Slot<Id>> {
        self.slots.get_mut(string.checked_sub(self.first)? as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fixture::{self, capacity, image};
    use std::sync::{Arc, Mutex};

    fn named() -> (Names, Mirror) {
        let names = Names::from_lookups(
            fixture::ENGINE_STRINGS,
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

    fn define_image(names: &mut Names, mirror: &mut Mirror, id: u32, uid: u32) {
        let mut image = image(id, 1000 + id, "cc");
        image.uid = uid.into();
        names.fill_in(&mut image, mirror);
        mirror.define(&Body::Proc(&image));
    }

    fn user_of(mirror: &Mirror, id: u32) -> Option<String> {
        let name = mirror.string(mirror.proc(id)?.user.get())?;
        Some(String::from_utf8(name.to_vec()).expect("UTF-8"))
    }

    #[test]
    fn a_user_with_another_name() {
        let all = Arc::new(Mutex::new(HashMap::from([(7, b"old".to_vec())])));
        let asked = all.clone();
        let find = Box::new(move |uid| asked.lock().expect("alone").get(&uid).cloned());
        let mut names = Names::from_lookups(fixture::ENGINE_STRINGS, find, Box::new(|_| None));
        let mut mirror = Mirror::new(capacity());
        for (id, uid) in [(1, 7), (2, 8), (3, 7)] {
            define_image(&mut names, &mut mirror, id, uid);
        }
        assert_eq!(user_of(&mirror, 1).as_deref(), Some("old"));
        assert_eq!(user_of(&mirror, 2), None);
        let string = mirror.proc(1).expect("defined").user.get();
        *all.lock().expect("alone") = HashMap::from([(7, b"new".to_vec()), (8, b"late".to_vec())]);
        // Nothing is looked up twice within an epoch.
        assert!(!names.look_again(1, &mut mirror));
        names.begin_epoch(Instant::now());
        assert!(names.look_again(1, &mut mirror));
        let expected = [Change::Str(string), Change::Proc(1), Change::Proc(3)];
        assert_eq!(names.changes(), expected);
        assert!(!names.look_again(3, &mut mirror) && names.look_again(2, &mut mirror));
        for (id, name) in [(1, "new"), (2, "late"), (3, "new")] {
            assert_eq!(user_of(&mirror, id).as_deref(), Some(name));
        }
        // The user is gone, and so is the name.
        all.lock().expect("alone").clear();
        names.begin_epoch(Instant::now());
        assert!(names.look_again(1, &mut mirror));
        assert_eq!(user_of(&mirror, 1), None);
    }

    #[test]
    fn the_number_of_users_is_unbounded() {
        let (mut names, _) = named();
        let most = to_u32(USERS_MAX);
        let mut mirror = Mirror::new(Capacity { processes: 2 * USERS_MAX, ..capacity() });
        for uid in 100..100 + most {
            define_image(&mut names, &mut mirror, uid, uid);
        }
        // Image 100 ends and its id is reused: the string of its user is free.
        define_image(&mut names, &mut mirror, 100, 101);
        define_image(&mut names, &mut mirror, 99, 5000);
        assert!(names.changes().iter().all(|change| matches!(change, Change::Str(_))));
        assert_eq!(user_of(&mirror, 99).as_deref(), Some("user5000"));
        // Now all are in use, and an idle user has to give up its string until it is active again.
        names.begin_epoch(Instant::now());
        for id in 102..100 + most {
            assert!(!names.look_again(id, &mut mirror));
        }
        define_image(&mut names, &mut mirror, 98, 5001);
        assert_eq!(user_of(&mirror, 98).as_deref(), Some("user5001"));
        let without: Vec<_> =
            (98..100 + most).filter(|id| user_of(&mirror, *id).is_none()).collect();
        assert!(!without.is_empty() && without.iter().all(|id| *id < 102), "{without:?}");
        for id in without {
            assert!(names.changes().contains(&Change::Proc(id)));
        }
        define_image(&mut names, &mut mirror, 97, 97);
        for id in 97..102 {
            names.look_again(id, &mut mirror);
            assert!(user_of(&mirror, id).is_some(), "{id}");
        }
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
