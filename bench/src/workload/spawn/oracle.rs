//! Holds a monitor's records against what the processes wrote into their file names.

use super::Mode;
use crate::lines::Claim;
use std::collections::BTreeMap;

/// What a process knew of itself when it made a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    /// How it came about.
    pub(crate) mode: Mode,
    /// The kernel's name of its first thread.
    pub(crate) cmd: String,
    /// Its process id.
    pub(crate) pid: u32,
    /// Its parent.
    pub(crate) ppid: u32,
    /// Its effective user id.
    pub(crate) uid: u32,
}

impl Truth {
    /// The name of the file, `tag` first.
    pub(crate) fn file_name(&self, tag: &str) -> String {
        let Truth { mode, cmd, pid, ppid, uid } = self;
        format!("{tag},{},{cmd},{pid},{ppid},{uid}", mode.name())
    }

    /// What the name of a file says; `None` for a file of another kind.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let (_, name) = path.rsplit_once('/')?;
        let mut fields = name.split(',').skip(1);
        let mode = Mode::by_name(fields.next()?)?;
        let cmd = fields.next()?.to_owned();
        let mut number = || fields.next()?.parse().ok();
        Some(Truth { mode, cmd, pid: number()?, ppid: number()?, uid: number()? })
    }
}

/// How the records of a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Records about files of the workload.
    pub(crate) records: u64,
    /// Records with at least one field wrong or missing, or flagged where they may not be.
    pub(crate) wrong: u64,
    /// Records flagged as ambiguous where the kernel gives no order.
    pub(crate) ambiguous: u64,
    /// Those of them that were right all the same.
    pub(crate) ambiguous_right: u64,
    /// How often each field was wrong; `flag` for a flag where it may not be.
    pub(crate) fields: BTreeMap<&'static str, u64>,
    /// How many records were wrong in each mode.
    pub(crate) modes: BTreeMap<&'static str, u64>,
    /// Whether the monitor says who at all.
    pub(crate) names_processes: bool,
}

impl Tally {
    /// Takes one record into account.
    pub(crate) fn add(&mut self, claim: &Claim) {
        let Some(truth) = Truth::parse(&claim.path) else { return };
        self.records += 1;
        self.names_processes |= claim.cmd.is_some() || claim.pid.is_some();
        let flagged = claim.attribution.as_deref() == Some("ambiguous");
        // A monitor that never gives parent or uid is judged by what it gives.
        let checks = [
            ("cmd", claim.cmd.as_deref() == Some(&truth.cmd)),
            ("pid", claim.pid == Some(truth.pid)),
            ("ppid", claim.ppid.is_none_or(|ppid| ppid == truth.ppid)),
            ("uid", claim.uid.is_none_or(|uid| uid == truth.uid)),
            ("missing", !claim.is_fsmon || (claim.ppid.is_some() && claim.uid.is_some())),
        ];
        let is_right = checks.iter().all(|(_, right)| *right);
        if flagged && truth.mode.may_be_ambiguous() {
            self.ambiguous += 1;
            self.ambiguous_right += u64::from(is_right);
            return;
        }
        if is_right && !flagged {
            return;
        }
        self.wrong += 1;
        *self.modes.entry(truth.mode.name()).or_default() += 1;
        for (field, _) in checks.into_iter().chain([("flag", !flagged)]).filter(|check| !check.1) {
            *self.fields.entry(field).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Claim;

    fn truth() -> Truth {
        Truth { mode: Mode::SetUid, cmd: "compile".into(), pid: 12, ppid: 3, uid: 65534 }
    }

    fn claim(truth: &Truth) -> Claim {
        Claim {
            path: format!("/w/{}", truth.file_name("0-1")),
            cmd: Some(truth.cmd.clone()),
            pid: Some(truth.pid),
            ppid: Some(truth.ppid),
            uid: Some(truth.uid),
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
    fn each_wrong_field_is_told() {
        let mut tally = Tally::default();
        tally.add(&claim(&truth()));
        assert_eq!((tally.records, tally.wrong), (1, 0));
        tally.add(&Claim { uid: Some(0), cmd: Some("sh".into()), ..claim(&truth()) });
        tally.add(&Claim { ppid: None, ..claim(&truth()) });
        assert_eq!((tally.records, tally.wrong), (3, 2));
        assert_eq!(tally.fields, BTreeMap::from([("uid", 1), ("cmd", 1), ("missing", 1)]));
    }

    #[test]
    fn the_flag_counts_as_wrong_where_the_order_is_known() {
        let flagged = |truth: &Truth| {
            let mut tally = Tally::default();
            tally.add(&Claim { attribution: Some("ambiguous".into()), ..claim(truth) });
            (tally.wrong, tally.ambiguous, tally.ambiguous_right)
        };
        assert_eq!(flagged(&Truth { mode: Mode::Twice, ..truth() }), (1, 0, 0));
        assert_eq!(flagged(&Truth { mode: Mode::SetUidBetween, ..truth() }), (0, 1, 1));
    }
}
