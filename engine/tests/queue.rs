//! How long the kernel's queue is, while nobody takes records and after. Needs root; says SKIP where it is not.

mod shared;

use fsmon_engine::config::Who;
use fsmon_engine::{Next, Queue};
use fsmon_format::kind;
use fsmon_format::record::{Body, Records};
use shared::watch;
use std::process::Command;
use std::time::{Duration, Instant};

const FILES: u64 = 40_000;
/// What is at most in the ring and in the buffers that the reader has filled.
const TAKEN: u64 = 16_000;

/// Waits until `is_it` of the queue's bytes.
fn wait_until(queue: &Queue, is_it: impl Fn(u64) -> bool) -> u64 {
    let began = Instant::now();
    loop {
        match queue.bytes() {
            bytes if is_it(bytes) => return bytes,
            bytes if began.elapsed() > Duration::from_secs(20) => panic!("{bytes} bytes"),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[test]
fn the_queue_grows_while_nobody_takes_records_and_is_empty_in_the_end() {
    for who in [Who::Bpf, Who::Proc] {
        let dir = tempfile::tempdir().expect("a directory");
        let started = watch(dir.path(), |config| {
            (config.who, config.types, config.ring_slots) = (who, kind::CREATE, 1);
        });
        let Some((monitor, mut records)) = started else { continue };
        let queue = monitor.queue();
        assert_eq!(queue.bytes(), 0);
        let script = format!("seq {FILES} | xargs touch");
        let status = Command::new("sh").args(["-ec", &script]).current_dir(dir.path()).status();
        assert!(status.expect("sh").success());
        // In the kernel an event of such a name takes 136 to 200 bytes. Without BPF the host's memory is what is known,
        // which others use as well.
        let least = (FILES - TAKEN) * 136;
        let most = if who == Who::Bpf { FILES * 250 } else { u64::MAX - 1 };
        let bytes = wait_until(&queue, |bytes| bytes >= least);
        println!("{who}: {bytes} bytes");
        assert!(bytes <= most, "{who}: {bytes} bytes of at most {most}");
        let mut count = 0;
        while count < FILES {
            let Next::Batch(batch) = records.next(Duration::from_secs(20)) else {
                panic!("{who}: {count} events");
            };
            let events = Records(batch).filter(|record| matches!(record.body(), Body::Event(_)));
            count += events.count() as u64;
        }
        assert!(matches!(records.next(Duration::from_millis(1)), Next::Idle | Next::Batch(_)));
        wait_until(&queue, |bytes| bytes == 0);
        monitor.stop();
        while !matches!(records.next(Duration::from_secs(20)), Next::Ended) {}
        let counters = monitor.join().expect("an orderly end");
        assert_eq!((counters.losses, counters.queue_bytes), (0, 0));
    }
}
