//! Measurements as `bench/results` keeps them: all figures, from which the tables are made.

pub(crate) mod keep;
mod origin;

use crate::comparison::Comparison;
use crate::cores::Cores;
use crate::forks::Forks;
use crate::latency::{self, Latency};
use crate::machine;
use crate::series::{rungs::Rungs, runs::Runs};
use crate::soak::Soak;
use crate::start::Starts;
use crate::streams::Streams;
use crate::table::Table;
use crate::tree::Tree;
use origin::Origin;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What one command measured, where and when.
#[derive(Serialize, Deserialize)]
pub(crate) struct Results {
    #[serde(flatten)]
    origin: Origin,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// The figures: each command has some of these.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) workloads: Vec<Comparison>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) latency: Vec<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) who: Option<Runs>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rungs: Vec<Rungs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forks: Option<Forks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) starts: Option<Starts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) soak: Option<Soak>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tree: Option<Tree>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cores: Option<Cores>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) streams: Option<Streams>,
}

/// The result of a command.
pub(crate) struct Measured {
    pub(crate) figures: Figures,
    pub(crate) verdict: Verdict,
}

/// Whether all that a command measured was as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Right,
    Wrong,
}

/// The directory of the results that are kept.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

impl Verdict {
    pub(crate) fn of(is_right: bool) -> Self {
        if is_right { Verdict::Right } else { Verdict::Wrong }
    }
}

impl Figures {
    /// All tables, in the order in which they are printed.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut tables: Vec<Table> = self.workloads.iter().map(Comparison::table).collect();
        tables.extend((!self.latency.is_empty()).then(|| latency::table(&self.latency)));
        tables.extend(self.who.as_ref().map(Runs::table));
        tables.extend(self.rungs.iter().map(Rungs::table));
        tables.extend(self.forks.as_ref().map(Forks::table));
        tables.extend(self.starts.as_ref().map(Starts::table));
        tables.extend(self.soak.as_ref().map(Soak::table));
        tables.extend(self.tree.iter().flat_map(Tree::tables));
        tables.extend(self.cores.iter().flat_map(Cores::tables));
        tables.extend(self.streams.iter().flat_map(Streams::tables));
        tables
    }

    /// The comparison on this workload.
    pub(crate) fn workload(&self, name: &str) -> Option<&Comparison> {
        self.workloads.iter().find(|comparison| comparison.workload == name)
    }
}

impl Results {
    /// Of a command that begins now.
    pub(crate) fn begin() -> Self {
        Results { origin: Origin::here(), figures: Figures::default() }
    }

    /// What a file has.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: String| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
    }

    /// Writes everything to a file; its directory is made where it is missing.
    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let failed = |error: String| format!("{}: {error}", path.display());
        let text = serde_json::to_string(self).map_err(|error| failed(error.to_string()))?;
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(path, text + "\n")).map_err(|error| failed(error.to_string()))
    }

    /// When it was measured: `2026-11-30T03:51:54Z`.
    pub(crate) fn date(&self) -> &str {
        &self.origin.date
    }

    /// When, where, for which commit and by which command, as far as the file has it.
    pub(crate) fn line(&self) -> String {
        let Origin { date, commit, command, machine } = &self.origin;
        let mut line = format!("{date}; {}", machine::line(machine));
        if let Some(commit) = commit {
            line += &format!("; commit {commit}");
        }
        if let Some(command) = command {
            line += &format!("; `{command}`");
        }
        line
    }
}
