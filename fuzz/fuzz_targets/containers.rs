//! The containers that tables of the engine are made of, each beside a naive model: a list, or a queue, that is searched
//! from end to end. The first byte says which, and how large; then come operations, two bytes each.

#![no_main]

use fsmon_engine::hot::containers::last::LastN;
use fsmon_engine::hot::containers::probing::ProbeTable;
use fsmon_engine::hot::containers::ways::{SetCache, Turns};
use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;

const SETS: usize = 4;
const WAYS: usize = 3;

/// Homes run into each other, and around the end of the table.
fn home(entry: &u32) -> usize {
    (entry / 4 * 7) as usize
}

/// A hash table beside a list of what is in it.
fn probing(size: u8, ops: &[[u8; 2]]) {
    let most = 4 << (size % 5);
    let (mut table, mut list) = (ProbeTable::<u32>::growing(4, most), Vec::new());
    for &[op, number] in ops {
        let entry = u32::from(number) + 1;
        let found = table.find(home(&entry), |one| *one == entry);
        assert_eq!(found.is_ok(), list.contains(&entry));
        match found {
            Ok(at) if op % 2 == 0 => {
                assert_eq!(*table.get(at), entry);
                table.remove(at, home);
                list.retain(|one| *one != entry);
            }
            Err(at) if table.used() + 1 < table.slots() => {
                table.fill(at, entry);
                list.push(entry);
            }
            Err(_) if table.can_grow() => {
                table.grow(home);
                table.insert(home(&entry), entry);
                list.push(entry);
            }
            _ => {}
        }
        assert!(table.used() == list.len() && table.slots() <= most);
        for one in &list {
            assert!(table.find(home(one), |entry| entry == one).is_ok(), "{one} is lost");
        }
    }
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some((entry, next)) = table.next_from(at) {
        all.push(*entry);
        at = next;
    }
    all.sort_unstable();
    list.sort_unstable();
    assert_eq!(all, list);
}

/// A cache of sets beside a list for each set. The first way comes first in the list.
fn ways(ops: &[[u8; 2]]) {
    let mut cache = SetCache::<u64, SETS, WAYS>::new(0);
    let mut turns = Turns::<SETS, WAYS>::new();
    let (mut lists, mut taken) = (vec![[0; WAYS]; SETS], [0; SETS]);
    for &[op, number] in ops {
        let key = u64::from(number) + 1;
        let set = usize::try_from(key % SETS as u64).expect("a few");
        let list = &mut lists[set];
        let place = list.iter().position(|one| *one == key);
        let found = cache.find(key, |one| *one == key);
        assert_eq!(found.map(|at| at.index::<WAYS>()), place.map(|way| set * WAYS + way));
        match (op % 4, found, place) {
            (0, ..) => {
                cache.put_first(key, key, |one| *one == key);
                list[..=place.unwrap_or(WAYS - 1)].rotate_right(1);
                list[0] = key;
            }
            (1, Some(at), Some(way)) => {
                cache.forget(at);
                list[way] = 0;
            }
            (2, None, None) => {
                *cache.get_mut(cache.least(key, |one| *one)) = key;
                let least = *list.iter().min().expect("ways");
                *list.iter_mut().find(|one| **one == least).expect("it is there") = key;
            }
            (3, None, None) => {
                *cache.get_mut(turns.take(key)) = key;
                list[taken[set] % WAYS] = key;
                taken[set] += 1;
            }
            _ if number == u8::MAX => {
                cache.clear();
                lists = vec![[0; WAYS]; SETS];
            }
            _ => {}
        }
        for (set, list) in lists.iter().enumerate() {
            for one in list.iter().filter(|one| **one != 0) {
                assert_eq!(cache.get(set as u64, |entry| entry == one), Some(one));
            }
        }
    }
}

/// The last so many beside a queue.
fn last(size: u8, ops: &[[u8; 2]]) {
    let most = usize::from(size % 9);
    let (mut last, mut queue) = (LastN::new(most), VecDeque::new());
    for &[op, number] in ops {
        let oldest = queue.front().copied().filter(|_| queue.len() == most);
        assert_eq!(last.overwritten_next().copied(), oldest);
        match op % 16 {
            0 => {
                last.clear();
                queue.clear();
            }
            1..8 => {
                assert_eq!(last.push(number), oldest);
                queue.push_back(number);
            }
            _ => {
                let slot = last.reuse(|| 0);
                assert_eq!(slot.is_some(), most > 0);
                if let Some(slot) = slot {
                    assert_eq!(std::mem::replace(slot, number), oldest.unwrap_or(0));
                }
                queue.push_back(number);
            }
        }
        queue.drain(..queue.len().saturating_sub(most));
        assert_eq!(last.is_empty(), queue.is_empty());
        assert!(last.newest_first().eq(queue.iter().rev()));
        assert!(last.oldest_first_mut().map(|one| *one).eq(queue.iter().copied()));
        (0..=most).for_each(|later| assert_eq!(last.back(later), queue.iter().rev().nth(later)));
        let (mut all, mut wanted) = (Vec::from_iter(last.iter()), Vec::from_iter(&queue));
        all.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(all, wanted);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let (ops, _) = rest.as_chunks::<2>();
    match first % 3 {
        0 => probing(first / 3, ops),
        1 => ways(ops),
        _ => last(first / 3, ops),
    }
});
