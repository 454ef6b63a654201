//! The tracks: one for each stream, and below it one for losses, one for changes by unknown processes, and the tree
//! of its processes.

use super::census::{Census, Facts, Process};
use super::proto::{BEGIN, CHRONOLOGICAL, END, TrackDescriptor};
use super::trace::{self, Trace, Value};
use crate::error::Result;
use fsmon_format::record::proc_flag;

/// Tracks of each stream that are not processes.
const OWN: u64 = 3;

/// Assigns the numbers of tracks.
pub(super) struct Tracks {
    streams: u64,
}

impl Tracks {
    pub(super) fn new(census: &Census) -> Self {
        Tracks { streams: census.streams.all.len() as u64 }
    }

    /// The track of a process, or the track of unknown processes.
    pub(super) fn of(&self, process: Option<usize>, stream: usize) -> u64 {
        match process {
            Some(process) => 1 + OWN * self.streams + process as u64,
            None => 3 + OWN * stream as u64,
        }
    }

    /// The track of losses.
    pub(super) fn losses(&self, stream: usize) -> u64 {
        2 + OWN * stream as u64
    }

    fn stream(stream: usize) -> u64 {
        1 + OWN * stream as u64
    }

    /// Writes all tracks, parents first, and the images on them.
    pub(super) fn write(&self, census: &Census, trace: &mut Trace) -> Result<()> {
        for (index, stream) in census.streams.all.iter().enumerate() {
            let host = if stream.host.is_empty() { "unknown host" } else { &stream.host };
            let own = Self::stream(index);
            trace.track(track(own, None, host.to_owned()))?;
            trace.track(track(self.losses(index), Some(own), "losses".into()))?;
            trace.track(track(self.of(None, index), Some(own), "unknown process".into()))?;
        }
        let mut written = vec![false; census.processes.len()];
        let mut line = Vec::new();
        for index in 0..census.processes.len() {
            let mut at = Some(index);
            while let Some(next) = at.filter(|at| !written[*at]) {
                written[next] = true;
                line.push(next);
                at = census.processes[next].parent;
            }
            while let Some(process) = line.pop() {
                self.process(census, process, trace)?;
            }
        }
        Ok(())
    }

    fn process(&self, census: &Census, index: usize, trace: &mut Trace) -> Result<()> {
        let process = &census.processes[index];
        let own = self.of(Some(index), process.stream);
        let above = match process.parent {
            Some(parent) => self.of(Some(parent), process.stream),
            None => Self::stream(process.stream),
        };
        trace.track(track(own, Some(above), name(census, process)))?;
        for (from, until, facts) in census.history(process) {
            let name = facts.cmd.as_deref().unwrap_or("?");
            trace.event((BEGIN, Some(name)), (own, from), annotations(process, facts))?;
            trace.event((END, None), (own, until), Vec::new())?;
        }
        Ok(())
    }
}

fn track(uuid: u64, parent: Option<u64>, name: String) -> TrackDescriptor {
    TrackDescriptor {
        uuid: Some(uuid),
        name: Some(name),
        parent_uuid: parent,
        child_ordering: Some(CHRONOLOGICAL),
    }
}

/// A name after the last image: the first image of a process is a copy of its parent.
fn name(census: &Census, process: &Process) -> String {
    let facts = process.images.iter().rev().map(|image| &census.images[*image].facts);
    let cmd = facts.filter_map(|facts| facts.cmd.as_deref()).next();
    format!("{} {}", cmd.unwrap_or("?"), process.pid)
}

fn annotations<'a>(process: &Process, facts: &'a Facts) -> trace::Facts<'a> {
    let mut all: trace::Facts<'a> = vec![("pid", Value::Number(process.pid.into()))];
    if process.ppid != 0 {
        all.push(("ppid", Value::Number(process.ppid.into())));
    }
    all.extend(facts.exe.as_deref().map(|text| ("exe", Value::Text(text))));
    all.extend(facts.exe_root.as_deref().map(|text| ("exe_root", Value::Text(text))));
    for (flag, name) in proc_flag::EXE_NAMES {
        all.extend((facts.exe_flags & flag != 0).then_some((name, Value::Flag(true))));
    }
    all.extend(facts.exec.as_deref().map(|text| ("exec", Value::Text(text))));
    // Rarely repeated.
    all.extend(facts.cmdline.as_deref().map(|text| ("cmdline", Value::Once(text.to_owned()))));
    all.extend(facts.cmdline_cut.then_some(("cmdline_cut", Value::Flag(true))));
    if let Some((uid, gid)) = facts.ids {
        all.push(("uid", Value::Number(uid.into())));
        all.push(("gid", Value::Number(gid.into())));
    }
    all.extend(facts.user.as_deref().map(|text| ("user", Value::Text(text))));
    all.extend(facts.cgroup.as_deref().map(|text| ("cgroup", Value::Text(text))));
    all
}
