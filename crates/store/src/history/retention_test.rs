//! What is deleted, beside a naive model; and what a recorder sees of it.

use super::fixture::{DAY, HOUR, Rng, SECOND};
use super::{Disk, Entry, Free, Keep, Usage, Why, plan};
use std::time::Duration;

/// Entries and limits of any kind, in units that collide often.
fn any(rng: &mut Rng) -> (Vec<Entry>, Usage, Keep) {
    let clock_ns = 1000 * DAY;
    let mut ages: Vec<u64> = (0..rng.below(12)).map(|_| rng.below(40) * DAY).collect();
    ages.sort_by_key(|age| std::cmp::Reverse(*age));
    let entry = |(number, age_ns): (usize, u64)| Entry {
        file: number.to_string(),
        bytes: 10 * rng.below(10),
        clock_ns: clock_ns - age_ns,
        ..Entry::default()
    };
    let entries = ages.into_iter().enumerate().map(entry).collect();
    let disk = Disk { free: rng.below(400), total: 1000 };
    let usage = Usage { clock_ns, open_bytes: rng.below(100), disk };
    let days = |days: u64| Duration::from_nanos(days * DAY);
    let free = if rng.below(2) == 0 { Free::Bytes(rng.below(500)) } else { Free::Percent(30) };
    let keep = Keep {
        size: (rng.below(3) > 0).then(|| rng.below(500)),
        age: (rng.below(3) > 0).then(|| days(rng.below(40))),
        free: (rng.below(3) > 0).then_some(free),
        at_least: days(rng.below(20)),
    };
    (entries, usage, keep)
}

#[test]
fn as_few_go_as_the_limits_allow_oldest_first() {
    let mut kinds = std::collections::HashSet::new();
    for seed in 0..20_000 {
        let (entries, usage, keep) = any(&mut Rng::new(seed));
        let age = |entry: &Entry| Duration::from_nanos(entry.age_ns(usage.clock_ns));
        let wanted = keep.free.map_or(0, |free| free.bytes(usage.disk.total));
        let all: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let is_within = |gone: &[Entry]| {
            let freed: u64 = gone.iter().map(|entry| entry.bytes).sum();
            let is_small = keep.size.is_none_or(|most| all - freed + usage.open_bytes <= most);
            is_small && usage.disk.free + freed >= wanted
        };
        let is_due = |entry: &Entry| keep.age.is_some_and(|most| age(entry) > most);
        let is_enough = |gone: &usize| {
            let (gone, left) = entries.split_at(*gone);
            let may_go = left.first().is_some_and(|entry| age(entry) >= keep.at_least);
            !left.iter().any(is_due) && (is_within(gone) || !may_go)
        };
        let gone = (0..=entries.len()).find(is_enough).expect("with all gone nothing may go");
        let planned = plan(&entries, &usage, &keep);
        let names: Vec<_> = planned.deletions.iter().map(|gone| &*gone.entry.file).collect();
        let expected: Vec<_> = entries[..gone].iter().map(|entry| &*entry.file).collect();
        assert_eq!(names, expected, "seed {seed}: {entries:#?} {usage:?} {keep:?}");
        assert_eq!(planned.is_short.is_none(), is_within(&entries[..gone]), "seed {seed}");
        for deletion in &planned.deletions {
            assert_eq!(deletion.why == Why::Age, is_due(&deletion.entry));
            assert_eq!(deletion.is_early, !is_due(&deletion.entry));
            assert!(deletion.why == Why::Age || age(&deletion.entry) >= keep.at_least);
            kinds.insert(deletion.why.name());
        }
    }
    assert_eq!(kinds.len(), 3, "{kinds:?}");
}

#[test]
fn a_history_of_too_many_segments_loses_its_oldest() {
    let most = crate::limits::SEGMENTS_MAX as u64;
    let entry = |number: u64| Entry { clock_ns: number, bytes: 1, ..Entry::default() };
    let entries: Vec<_> = (0..most + 1).map(entry).collect();
    let disk = Disk { free: 0, total: 1 };
    let usage = Usage { clock_ns: DAY, open_bytes: 0, disk };
    let planned = plan(&entries, &usage, &Keep::default());
    assert_eq!((planned.deletions.len(), planned.is_short), (2, None));
    assert_eq!(planned.deletions[0].why, Why::Count);
    let at_least = Duration::from_nanos(2 * DAY);
    let planned = plan(&entries, &usage, &Keep { at_least, ..Keep::default() });
    assert_eq!((planned.deletions.len(), planned.is_short), (0, Some(Why::Count)));
}

#[test]
fn a_deletion_is_printed_with_its_reason() {
    let entries =
        [Entry { file: "a.fsmon".into(), bytes: 9, events: 2, clock_ns: 1, ..Entry::default() }];
    let disk = Disk { free: 0, total: 1 };
    let usage = Usage { clock_ns: HOUR, open_bytes: 0, disk };
    let age = Some(Duration::from_nanos(SECOND));
    let planned = plan(&entries, &usage, &Keep { age, ..Keep::default() });
    let text = planned.deletions[0].to_string();
    assert_eq!(text, "a.fsmon: 9 bytes, 2 events: it is older than what is kept");
    assert_eq!(Free::Percent(5).bytes(1000), 50);
    assert_eq!(Free::Percent(200).bytes(u64::MAX), u64::MAX / 100 * 100);
}
