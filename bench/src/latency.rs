//! The time from a change to its line: makes single files with pauses on an idle machine, and reads the lines from a
//! pipe. Percentiles are over single events.

use crate::area::Area;
use crate::monitor::{self, Monitor, Programs, Running};
use crate::table::{Table, not_run};
use fsmon_format::number::to_ns;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::process::ChildStdout;
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The name on the command line.
pub(crate) const NAME: &str = "latency";
/// What the names of the files begin with; six digits follow.
const BEGINNING: &[u8] = b"latency-";
const DIGITS: usize = 6;
/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the pipe may stay open when the monitor is gone.
const LAST_LINES: Duration = Duration::from_secs(10);

/// The times of one monitor, sorted, ns.
#[derive(Serialize, Deserialize)]
pub(crate) struct Latency {
    monitor: String,
    times_ns: Vec<u64>,
    /// Changes without a line.
    missing: usize,
    error: Option<String>,
}

/// Measures every monitor that writes lines to standard output.
pub(crate) fn measure(
    monitors: &[Monitor],
    programs: &Programs,
    area: &Area,
    quick: bool,
) -> Result<Vec<Latency>, String> {
    let mut all = Vec::new();
    for monitor in monitors {
        area.renew().map_err(|error| error.to_string())?;
        let name = monitor.name();
        match monitor::start_live(*monitor, programs, area) {
            Ok(None) => {}
            Ok(Some((running, lines))) => {
                eprintln!("latency of {name}");
                all.push(one(name, running, lines, area, if quick { 100 } else { 3000 })?);
            }
            Err(error) => {
                let error = Some(error);
                all.push(Latency { monitor: name, times_ns: vec![], missing: 0, error });
            }
        }
    }
    Ok(all)
}

fn one(
    monitor: String,
    running: Running,
    lines: ChildStdout,
    area: &Area,
    count: usize,
) -> Result<Latency, String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(arrivals(lines, count)));
    let made = make_files(area, count).map_err(|error| format!("{NAME}: {error}"))?;
    sleep(PATIENCE);
    let error = running.stop().err();
    let came = receiver.recv_timeout(LAST_LINES);
    let came = came.map_err(|_| format!("{monitor} is gone, but its lines do not end"))?;
    let times = made.iter().zip(came).filter_map(|(made, came)| Some(came? - *made));
    let mut times_ns: Vec<u64> = times.map(to_ns).collect();
    times_ns.sort_unstable();
    let missing = count - times_ns.len();
    Ok(Latency { monitor, times_ns, missing, error })
}

/// When each file was about to be made. The pauses differ, so that they do not fall in step with
/// anyone's pace.
fn make_files(area: &Area, count: usize) -> io::Result<Vec<Instant>> {
    (0..count)
        .map(|i| {
            sleep(Duration::from_micros(1500 + (i as u64 * 7919) % 3000));
            let path = area.watched.join(format!("latency-{i:0DIGITS$}"));
            let now = Instant::now();
            File::create(path)?;
            Ok(now)
        })
        .collect()
}

/// When the first line about each file was there.
fn arrivals(mut lines: impl Read, count: usize) -> Vec<Option<Instant>> {
    let mut came = vec![None; count];
    let (mut buffer, mut len) = (vec![0u8; 1 << 16], 0);
    while let Ok(more @ 1..) = lines.read(&mut buffer[len..]) {
        let now = Instant::now();
        len += more;
        let whole = buffer[..len].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in buffer[..whole].split(|byte| *byte == b'\n') {
            if let Some(slot) = index(line).and_then(|index| came.get_mut(index)) {
                slot.get_or_insert(now);
            }
        }
        buffer.copy_within(whole..len, 0);
        // A line that fills the whole buffer is no monitor's.
        len = if len - whole == buffer.len() { 0 } else { len - whole };
    }
    came
}

fn index(line: &[u8]) -> Option<usize> {
    let at = line.windows(BEGINNING.len()).position(|window| window == BEGINNING)?;
    let digits = line.get(at + BEGINNING.len()..)?.get(..DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The least time that `share` of all does not exceed, ns.
fn percentile(sorted: &[u64], share: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to the length of `sorted`"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

impl Latency {
    /// Whether it could be measured.
    pub(crate) fn is_whole(&self) -> bool {
        self.error.is_none()
    }

    fn cells(&self) -> Vec<String> {
        if let Some(error) = &self.error {
            return not_run(&self.monitor, error);
        }
        let shown = |share: f64| {
            let time = percentile(&self.times_ns, share);
            time.map_or_else(|| "–".into(), |ns| format!("{:.2} ms", ns as f64 / 1e6))
        };
        let times = [0.5, 0.99, 0.999, 1.0].map(shown);
        let (monitor, missing) = (self.monitor.clone(), self.missing.to_string());
        [monitor].into_iter().chain(times).chain([missing]).collect()
    }
}

/// The table of all monitors.
pub(crate) fn table(all: &[Latency]) -> Table {
    let mut table = Table::new(NAME, &["monitor", "p50", "p99", "p99.9", "longest", "no line"]);
    table.note = Some("From a change to its line in a pipe, single files.".into());
    all.iter().for_each(|latency| table.push(latency.cells()));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_single_events() {
        let times: Vec<u64> = (1..=1000).collect();
        assert_eq!(percentile(&times, 0.5), Some(500));
        assert_eq!(percentile(&times, 0.999), Some(999));
        assert_eq!(percentile(&times, 1.0), Some(1000));
        assert_eq!(percentile(&[7], 0.5), Some(7));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn the_first_line_about_a_file_counts() {
        let text: &[u8] =
            b"CREATE /w/latency-000001\nother\nCLOSE /w/latency-000001\nlatency-00000";
        let came = arrivals(text, 3);
        assert_eq!(came.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    }
}
