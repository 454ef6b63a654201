//! `fsmon doctor`: shows what this host offers, what fsmon will use, and what is lost.

use crate::args::DoctorArgs;
use crate::summary::source_of_names;
use crate::{parts, remedies};
use fsmon_engine::Error;
use fsmon_engine::plan::{self, MarkKind, Plan, RootPlan};
use fsmon_present::message::{json_line, line, shown};
use serde_json::{Value, json};
use std::fmt::Write;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

/// Prints the report. Returns the exit code: failure if one of the paths cannot be watched.
///
/// # Errors
/// Standard output cannot be written to.
pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode, Error> {
    let plan = plan::probe(&parts::roots(&args.paths));
    let text = if args.json {
        format!("{}\n", json_line(&object(&plan).to_string()))
    } else {
        table(&plan)
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            return Err(Error::os("cannot write to standard output", error));
        }
        _ => {}
    }
    Ok(if plan.can_watch() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(plan: &Plan) -> String {
    let mut out = format!("Linux {}\n\nThis host offers\n", plan.kernel);
    let width = plan.probes.iter().map(|probe| probe.name.len()).max().unwrap_or(0);
    for probe in &plan.probes {
        let works = if probe.works() { "yes" } else { "no" };
        put(
            &mut out,
            format_args!("  {:width$}  {works:3}  {}\n", probe.name, line(&probe.detail)),
        );
    }
    out.push_str("\nfsmon will use\n");
    put(&mut out, format_args!("  changes  read through {}, {}\n", plan.backend, pinned(plan)));
    put(&mut out, format_args!("  names    from {}\n", source_of_names(plan.who)));
    out.push_str("\nPaths\n");
    for root in &plan.roots {
        let how = match &root.mark {
            Ok(mark) => format!("{}: {}: {}", root.fs_type, mark_words(*mark), root.why),
            Err(why) => format!("cannot be watched: {}", remedies::error(why)),
        };
        put(&mut out, format_args!("  {}  {}\n", shown(&root.path), line(&how)));
    }
    out.push_str("\nWhat is lost\n");
    for loss in &plan.losses {
        put(&mut out, format_args!("  {}\n", line(&remedies::degradation(loss))));
    }
    if plan.losses.is_empty() {
        out.push_str("  nothing\n");
    }
    let notes = plan.notes.iter().map(|note| line(&note.to_string())).collect();
    for (title, lines) in [("Notes", notes), ("Newer kernels add", newer(&plan.kernel))] {
        if !lines.is_empty() {
            put(&mut out, format_args!("\n{title}\n  {}\n", lines.join("\n  ")));
        }
    }
    out
}

/// Features of newer kernels. For information only: fsmon finds out what works by trying.
fn newer(kernel: &str) -> Vec<String> {
    let mut numbers = kernel.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok);
    let Some(version) = next().zip(next()) else { return Vec::new() };
    let later = KERNELS.iter().filter(|(since, _)| *since > version);
    later.map(|((major, minor), what)| format!("{major}.{minor}  {what}")).collect()
}

/// Features by the kernel version that added them. fsmon needs 5.17 at least.
const KERNELS: &[((u32, u32), &str)] = &[
    ((6, 1), "reading through io_uring"),
    ((6, 3), "changes of processes in order with the file events (BPF)"),
    ((6, 5), "overlayfs, and other filesystems whose handles cannot be opened"),
    ((6, 8), "filesystems without an id of their own, such as FUSE"),
    ((6, 12), "pacing by the kernel"),
];

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn pinned(plan: &Plan) -> String {
    plan.cpu.map_or_else(|| "not pinned".to_owned(), |cpu| format!("pinned to CPU {cpu}"))
}

fn mark_words(mark: MarkKind) -> &'static str {
    match mark {
        MarkKind::Filesystem => "one mark on the filesystem",
        MarkKind::Inode => "a mark on every directory",
        MarkKind::Upper => {
            "a mark on every directory of a lower layer, and on the upper layer's filesystem"
        }
        other => other.name(),
    }
}

fn object(plan: &Plan) -> Value {
    json!({
        "kernel": plan.kernel,
        "can_watch": plan.can_watch(),
        "backend": plan.backend,
        "who": plan.who.name(),
        "cpu": plan.cpu,
        "probes": plan.probes.iter().map(|probe| json!({
            "name": probe.name, "works": probe.works(), "detail": probe.detail,
        })).collect::<Vec<_>>(),
        "roots": plan.roots.iter().map(root_object).collect::<Vec<_>>(),
        "losses": plan.losses.iter().map(remedies::degradation).collect::<Vec<_>>(),
        "notes": plan.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn root_object(root: &RootPlan) -> Value {
    let path = root.path.display().to_string();
    match &root.mark {
        Ok(mark) => {
            json!({ "path": path, "fs_type": root.fs_type, "mark": mark.name(), "why": root.why })
        }
        Err(why) => json!({ "path": path, "fs_type": root.fs_type, "error": remedies::error(why) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsmon_engine::ErrorKind;
    use fsmon_engine::config::Who;
    use fsmon_engine::plan::{Degradation, Note, Probe};

    fn plan() -> Plan {
        let mut plan = Plan::default();
        plan.kernel = "6.8.1".into();
        plan.backend = "poll";
        plan.who = Who::Connector;
        plan.cpu = Some(1);
        plan.probes = vec![
            Probe { name: "fanotify", detail: "FAN_RENAME".into(), failure: None },
            Probe {
                name: "io_uring",
                detail: "sysctl kernel.io_uring".into(),
                failure: Some(ErrorKind::Permission),
            },
        ];
        plan.roots = vec![
            RootPlan {
                path: "/srv".into(),
                fs_type: "ext4".into(),
                mark: Ok(MarkKind::Filesystem),
                why: "its handles can be decoded".into(),
            },
            RootPlan {
                path: "/gone".into(),
                fs_type: String::new(),
                mark: Err(Error::invalid("no such directory")),
                why: String::new(),
            },
        ];
        plan.losses = vec![Degradation::Root(Error::invalid("names are late"))];
        plan.notes = vec![Note::NotThereYet("/srv/a".into())];
        plan
    }

    #[test]
    fn the_table_has_everything() {
        assert_eq!(
            table(&plan()),
            "Linux 6.8.1\n\nThis host offers\n  fanotify  yes  FAN_RENAME\n  io_uring  no   \
             sysctl kernel.io_uring\n\nfsmon will use\n  changes  read through poll, pinned to CPU \
             1\n  names    from the proc connector\n\nPaths\n  /srv  ext4: one mark on the \
             filesystem: its handles can be decoded\n  /gone  cannot be watched: no such directory\n\nWhat is lost\n  \
             names are late\n\nNotes\n  /srv/a does not exist yet; watched from \
             when it appears\n\nNewer kernels add\n  6.12  pacing by the kernel\n"
        );
    }

    #[test]
    fn the_object_has_everything() {
        let object = object(&plan());
        assert_eq!(object["can_watch"], false);
        assert_eq!(object["who"], "connector");
        assert_eq!(object["roots"][0]["mark"], "filesystem");
        assert_eq!(object["roots"][1]["error"], "no such directory");
    }
}
