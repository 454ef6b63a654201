//! The engine by itself: prints what changes below the paths given until it is interrupted.
//!
//! ```sh
//! cargo run --release -p fsmon-engine --example print -- /tmp
//! ```

use fsmon_engine::{Config, Error, Next, start};
use fsmon_format::kind;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Body, Records};
use std::time::Duration;

fn main() -> Result<(), Error> {
    let roots = std::env::args_os().skip(1).map(Into::into).collect();
    let config = Config::new(roots);
    // What the ids in events stand for.
    let mut mirror = Mirror::new(config.capacity());
    let (_monitor, mut records) = start(config)?;
    loop {
        let batch = match records.next(Duration::from_secs(1)) {
            Next::Batch(batch) => batch,
            Next::Idle => continue,
            Next::Ended => return Ok(()),
        };
        for record in Records(batch) {
            let body = record.body();
            mirror.define(&body);
            if let Body::Event(event) = body {
                let mut path = Vec::new();
                mirror.append_dir_path(event.head.dir.get(), &mut path);
                let process = mirror.proc(event.head.proc.get());
                let types: Vec<_> =
                    kind::in_causal_order(event.head.mask.get()).map(|kind| kind.name).collect();
                println!(
                    "{} {}/{} by {} ({})",
                    types.join("+"),
                    String::from_utf8_lossy(&path),
                    String::from_utf8_lossy(event.name),
                    process.map_or(0, |process| process.pid.get()),
                    process.map_or("?".into(), |process| String::from_utf8_lossy(&process.comm)),
                );
            }
        }
    }
}
