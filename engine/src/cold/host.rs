//! What this host supports, found by trying.

use super::remedy::{Call, Refused};
use crate::config::{Backend, Cpu};
use crate::limits::reader::{
    CONNECTOR_BUFFER_BYTES, CONNECTOR_BUFFERS, FILES_BUFFER_BYTES, FILES_BUFFERS,
};
use crate::limits::start::DESCRIPTORS_BESIDES;
use crate::plan::Probe;
use crate::sys::buffers::Buffers;
use crate::sys::fd::eventfd;
use crate::sys::gauge::Gauge;
use crate::sys::perf::online_cpus;
use crate::sys::poll::Descriptors;
use crate::sys::thread::allowed_cpus;
use crate::sys::uring::Uring;
use crate::{Error, ErrorKind, Message, Setting};
use std::io;
use std::os::fd::AsFd;

/// The kernel's release.
pub(crate) fn kernel() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// File descriptors that a reader with this number of roots has open at one time, with room for its caller: a perf
/// ring and its BPF map entry for each CPU, two for each root, programs, walks.
pub(crate) fn descriptors_needed(roots: usize) -> u64 {
    let cpus = online_cpus().map_or(1, |cpus| cpus.len());
    DESCRIPTORS_BESIDES + 2 * (cpus as u64 + roots as u64)
}

/// Whether io_uring can be the backend: tries everything that is needed on an eventfd.
pub(crate) fn probe_uring() -> Probe {
    let (failure, detail) = match try_uring() {
        Ok(true) => (None, "reads in batches, paced by the kernel".to_owned()),
        Ok(false) => (None, "reads in batches, paced by sleeping (before Linux 6.12)".to_owned()),
        Err(error) => {
            let refused = Refused::new(Call::Uring, error);
            (Some(refused.kind()), refused.to_string())
        }
    };
    Probe { name: "io_uring", detail, failure }
}

/// Whether the kernel paces waits.
fn try_uring() -> io::Result<bool> {
    let (files, connector) = (Buffers::new(2, 4096)?, Buffers::new(2, 4096)?);
    let (read, wake) = (eventfd()?, eventfd()?);
    let sources =
        Descriptors { files: read.as_fd(), connector: None, wake: wake.as_fd(), messages: vec![] };
    let mut uring = Uring::new(&sources, &files, &connector, Gauge::default())?;
    crate::sys::fd::signal(read.as_fd());
    // The read answers at once: with the 8 bytes of the eventfd, or EINVAL if it is not supported.
    uring.wait(std::time::Duration::from_micros(1), std::time::Duration::from_secs(1))?;
    match uring.next(&files, &connector)? {
        Some(_) => Ok(uring.paces()),
        None => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// The backend to use, and what is lost with it.
///
/// # Errors
/// If io_uring was requested by name and does not work.
pub(crate) fn choose_backend(asked: Backend, probe: &Probe) -> Result<Backend, Error> {
    match asked {
        Backend::Poll => Ok(Backend::Poll),
        Backend::Auto if !probe.works() => Ok(Backend::Poll),
        Backend::Uring if !probe.works() => {
            let kind = probe.failure.unwrap_or(ErrorKind::Unsupported);
            let line =
                Message::from(format!("io_uring cannot be used: {}; or leave ", probe.detail));
            let line = line.and(Setting::Backend).and(" at auto");
            Err(Error::new(kind, line).about(Setting::Backend))
        }
        _ => Ok(Backend::Uring),
    }
}

/// The CPU for the reader. By default the last one allowed, which most schedulers and interrupts use last; with one
/// CPU there is no choice.
///
/// # Errors
/// A CPU that this process may not run on.
pub(crate) fn choose_cpu(asked: Cpu, reader: usize) -> Result<Option<usize>, Error> {
    let allowed = allowed_cpus();
    match asked {
        Cpu::None => Ok(None),
        Cpu::Auto => {
            Ok(allowed.iter().rev().cycle().nth(reader).copied().filter(|_| allowed.len() > 1))
        }
        Cpu::Pin(cpu) if allowed.contains(&cpu) => Ok(Some(cpu)),
        Cpu::Pin(cpu) => {
            let allowed = ranges(&allowed);
            let line = Message::from(format!(
                "CPU {cpu} is not among those fsmon may run on ({allowed}); choose one of them, or leave "
            ));
            Err(Error::invalid(line.and(Setting::Cpu).and(" at auto")).about(Setting::Cpu))
        }
    }
}

/// `0-3,6` for a sorted list.
fn ranges(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|a, b| a + 1 == *b);
    let shown = runs.map(|run| match run {
        [one] => one.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    shown.collect::<Vec<_>>().join(",")
}

/// Buffers for an intake: of file events, and of process messages.
pub(crate) fn buffers() -> io::Result<(Buffers, Buffers)> {
    Ok((
        Buffers::new(FILES_BUFFERS, FILES_BUFFER_BYTES)?,
        Buffers::new(CONNECTOR_BUFFERS, CONNECTOR_BUFFER_BYTES)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_shown_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused() {
        let error = choose_cpu(Cpu::Pin(100_000), 0).expect_err("refused");
        assert_eq!(error.setting(), Some(Setting::Cpu));
        assert!(error.to_string().contains("CPU 100000 is not among"));
    }
}
