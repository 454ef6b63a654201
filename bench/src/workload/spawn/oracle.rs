//! Compares a monitor's records with what the processes wrote into their file names.

use super::Mode;
use crate::lines::Claim;
use std::collections::BTreeMap;

/// What a process knew about itself when it made a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    /// How it came about.
    pub(crate) mode: Mode,
    /// The kernel's name of its first thread.
    pub(crate) cmd: String,
    /// Its process id.
    pub(crate) pid: u32,
    /// Its parent at the fork.
    pub(crate) ppid: u32,
    /// Its effective user id.
    pub(crate) uid: u32,
    /// Its effective group id.
    pub(crate) gid: u32,
    /// Its name when it closed the file, where that is another.
    pub(crate) closer: Option<String>,
}

impl Truth {
    /// The name of the file, `tag` first.
    pub(crate) fn file_name(&self, tag: &str) -> String {
        let Truth { mode, cmd, pid, ppid, uid, gid, closer } = self;
        let mut name = format!("{tag},{},{cmd},{pid},{ppid},{uid},{gid}", mode.name());
        if let Some(closer) = closer {
            name = format!("{name},{closer}");
        }
        name
    }

    /// What the name of a file says; `None` for a file of another kind.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let (_, name) = path.rsplit_once('/')?;
        let mut fields = name.split(',').skip(1);
        let mode = Mode::by_name(fields.next()?)?;
        let cmd = fields.next()?.to_owned();
        let mut number = || fields.next()?.parse().ok();
        let (pid, ppid, uid, gid) = (number()?, number()?, number()?, number()?);
        Some(Truth { mode, cmd, pid, ppid, uid, gid, closer: fields.next().map(str::to_owned) })
    }

    /// The name at an event of this kind.
    fn cmd_at(&self, kind: &str) -> &str {
        match &self.closer {
            Some(closer) if kind == "CLOSE_WRITE" => closer,
            _ => &self.cmd,
        }
    }
}

/// Records that say themselves that they are not exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flagged {
    pub(crate) records: u64,
    /// Those of them with a field wrong or missing.
    pub(crate) wrong: u64,
}

/// The correctness of a run's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Records about files of the workload.
    pub(crate) records: u64,
    /// How many of them are about the closing of a file.
    pub(crate) closes: u64,
    /// Records with at least one field wrong or missing that do not say so.
    pub(crate) wrong: u64,
    /// In them, how often each field was wrong, by mode.
    pub(crate) wrong_in: BTreeMap<(&'static str, &'static str), u64>,
    /// How often each field was wrong or missing, in records that say so and in others.
    pub(crate) fields: BTreeMap<&'static str, u64>,
    /// Records that say that they are not exact, by mode and by what they say.
    pub(crate) flagged: BTreeMap<(&'static str, String), Flagged>,
    /// The first record of each mode that is wrong and does not say so.
    pub(crate) examples: BTreeMap<&'static str, String>,
    /// Whether the monitor says who at all.
    pub(crate) names_processes: bool,
}

impl Tally {
    /// Takes one record into account.
    pub(crate) fn add(&mut self, claim: &Claim) {
        let Some(truth) = Truth::parse(&claim.path) else { return };
        self.records += 1;
        self.closes += u64::from(claim.kind == "CLOSE_WRITE");
        self.names_processes |= claim.cmd.is_some() || claim.pid.is_some();
        // A monitor that never gives parent, user or group is judged by what it gives.
        let given = |claimed: Option<u32>, true_one| {
            claimed.map_or(!claim.is_fsmon, |claimed| claimed == true_one)
        };
        let checks = [
            ("cmd", claim.cmd.as_deref() == Some(truth.cmd_at(&claim.kind))),
            ("pid", claim.pid == Some(truth.pid)),
            ("ppid", given(claim.ppid, truth.ppid)),
            ("uid", given(claim.uid, truth.uid)),
            ("gid", given(claim.gid, truth.gid)),
        ];
        let is_right = checks.iter().all(|(_, right)| *right);
        let mode = truth.mode.name();
        for (field, _) in checks.into_iter().filter(|(_, right)| !right) {
            *self.fields.entry(field).or_default() += 1;
            if claim.attribution.is_none() {
                *self.wrong_in.entry((mode, field)).or_default() += 1;
            }
        }
        if let Some(flag) = &claim.attribution {
            let flagged = self.flagged.entry((mode, flag.clone())).or_default();
            flagged.records += 1;
            flagged.wrong += u64::from(!is_right);
        } else if !is_right {
            self.wrong += 1;
            self.examples.entry(mode).or_insert_with(|| claim.to_string());
        }
    }

    /// Records that say that they are not exact, in a mode and a way that `may` allows.
    pub(crate) fn flagged(&self, may: impl Fn(Mode) -> bool) -> u64 {
        let allowed = self.flagged.iter().filter(|((mode, flag), _)| {
            flag == "ambiguous" && Mode::by_name(mode).is_some_and(&may)
        });
        allowed.map(|(_, flagged)| flagged.records).sum()
    }

    /// Records that say so where they may not.
    pub(crate) fn flagged_wrongly(&self, may: impl Fn(Mode) -> bool) -> u64 {
        self.flagged.values().map(|flagged| flagged.records).sum::<u64>() - self.flagged(may)
    }

    /// Adds another run's.
    pub(crate) fn merge(&mut self, other: &Tally) {
        self.records += other.records;
        self.closes += other.closes;
        self.wrong += other.wrong;
        self.names_processes |= other.names_processes;
        for (key, wrong) in &other.wrong_in {
            *self.wrong_in.entry(*key).or_default() += wrong;
        }
        for (field, wrong) in &other.fields {
            *self.fields.entry(field).or_default() += wrong;
        }
        for (key, theirs) in &other.flagged {
            let ours = self.flagged.entry(key.clone()).or_default();
            ours.records += theirs.records;
            ours.wrong += theirs.wrong;
        }
        for (mode, example) in &other.examples {
            self.examples.entry(mode).or_insert_with(|| example.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Claim;

    fn truth() -> Truth {
        Truth {
            mode: Mode::SetUid,
            cmd: "compile".into(),
            pid: 12,
            ppid: 3,
            uid: 65534,
            gid: 65534,
            closer: None,
        }
    }

    fn claim(truth: &Truth) -> Claim {
        Claim {
            path: format!("/w/{}", truth.file_name("0-1")),
            cmd: Some(truth.cmd.clone()),
            pid: Some(truth.pid),
            ppid: Some(truth.ppid),
            uid: Some(truth.uid),
            gid: Some(truth.gid),
            is_fsmon: true,
            ..Claim::default()
        }
    }

    #[test]
    fn a_name_comes_back() {
        let name = format!("/tmp/x/{}", truth().file_name("2-40b"));
        assert_eq!(Truth::parse(&name), Some(truth()));
        assert_eq!(Truth::parse("/tmp/x/other"), None);
    }

    #[test]
    fn each_wrong_field_is_reported() {
        let mut tally = Tally::default();
        tally.add(&claim(&truth()));
        assert_eq!((tally.records, tally.wrong), (1, 0));
        tally.add(&Claim { uid: Some(0), cmd: Some("sh".into()), ..claim(&truth()) });
        tally.add(&Claim { ppid: None, ..claim(&truth()) });
        assert_eq!((tally.records, tally.wrong), (3, 2));
        assert_eq!(tally.fields, BTreeMap::from([("uid", 1), ("cmd", 1), ("ppid", 1)]));
        tally.add(&Claim { ppid: None, is_fsmon: false, ..claim(&truth()) });
        assert_eq!(tally.wrong, 2, "a peer is judged by what it gives");
    }

    #[test]
    fn who_closes_a_file_may_be_another() {
        let truth = Truth { closer: Some("second".into()), ..truth() };
        let (create, close) =
            (claim(&truth), Claim { kind: "CLOSE_WRITE".into(), ..claim(&truth) });
        let mut tally = Tally::default();
        tally.add(&create);
        tally.add(&Claim { cmd: Some("second".into()), ..close.clone() });
        assert_eq!((tally.records, tally.closes, tally.wrong), (2, 1, 0));
        tally.add(&close);
        assert_eq!(tally.wrong, 1);
    }

    #[test]
    fn a_flag_is_allowed_in_some_modes_and_in_one_form() {
        let mut tally = Tally::default();
        for (mode, flag) in [
            (Mode::Twice, "ambiguous"),
            (Mode::SetUidBetween, "ambiguous"),
            (Mode::SetUidBetween, "late"),
        ] {
            let claim = claim(&Truth { mode, ..truth() });
            tally.add(&Claim { attribution: Some(flag.into()), ..claim });
        }
        let may = Mode::changes_between_files;
        assert_eq!((tally.wrong, tally.flagged(may), tally.flagged_wrongly(may)), (0, 1, 2));
        let mut twice = tally.clone();
        twice.merge(&tally);
        assert_eq!((twice.records, twice.flagged_wrongly(may)), (6, 4));
    }
}
