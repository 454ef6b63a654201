//! What this machine is: figures mean nothing without it.

use serde_json::{Value, json};
use std::fs;

/// Kernel, processor, memory, load.
pub(crate) fn describe() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "build": read("/proc/sys/kernel/version"),
        "cpu": field(&cpuinfo, "model name"),
        "cpus": cpus,
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "load_before": read("/proc/loadavg"),
    })
}

/// One line for people.
pub(crate) fn line(machine: &Value) -> String {
    let text = |key: &str| machine[key].as_str().unwrap_or("?").to_owned();
    let (kernel, cpu) = (text("kernel"), text("cpu"));
    // `24684092 kB`, as /proc/meminfo has it.
    let memory = text("memory");
    let kib = memory.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
    let memory = kib.map_or(memory, |kib| format!("{:.1} GiB", kib / f64::from(1 << 20)));
    format!("Linux {kernel}, {} × {cpu}, {memory}, tmpfs", machine["cpus"])
}
