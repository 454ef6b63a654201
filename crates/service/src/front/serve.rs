//! What a client asks for, as an order to the recorder.

use super::{Front, lock};
use crate::ask::must_answer;
use crate::control::protocol::{Command, Fields};
use crate::control::server::Serve;
use crate::link::{Limits, Order};
use crate::status;
use fsmon_format::error::Error;
use fsmon_present::{duration, size};
use serde_json::Value;

impl Serve for Front {
    fn serve(&self, command: Command) -> Result<Fields, Error> {
        let order = match command {
            Command::Status => {
                return self.recorder.ask(Order::Status).map(|mut fields| {
                    // The one that signals and the service manager know.
                    fields.insert("pid".to_owned(), std::process::id().into());
                    fields
                });
            }
            Command::List => Order::List,
            Command::Add { watch, runtime } => {
                let watch = status::watch_of(&watch)?;
                lock(&self.config).check_watch(&watch, "the watch")?;
                must_answer(&watch.path)?;
                watch.check_host()?;
                Order::Add { watch: Box::new(watch), runtime }
            }
            Command::Remove { path } => Order::Remove { path },
            Command::Flush => Order::Flush,
            Command::Sync => Order::Sync,
            Command::Rotate => Order::Rotate,
            Command::Reload => return self.reload().map(|()| Fields::new()),
            Command::Clean { dry_run, keep } => {
                let limits = keep.as_ref().map(limits).transpose()?;
                Order::Clean { is_dry: dry_run, limits }
            }
            Command::Metrics => {
                return self.recorder.ask(Order::Metrics).map(|mut fields| {
                    let of_recorder = fields.get("text").and_then(Value::as_str);
                    let text = self.with_own_metrics(of_recorder.unwrap_or_default());
                    fields.insert("text".to_owned(), text.into());
                    fields
                });
            }
        };
        self.recorder.ask(order)
    }
}

/// The limits in a message.
///
/// # Errors
/// A key or a value is wrong.
fn limits(given: &Value) -> Result<Limits, Error> {
    let wrong = || {
        Error::invalid("the limits are not understood: `size` is like \"10G\", `age` like \"7d\"")
    };
    let mut limits = Limits::default();
    for (key, value) in given.as_object().ok_or_else(wrong)? {
        let text = value.as_str().ok_or_else(wrong)?;
        match key.as_str() {
            "size" => limits.size = Some(size::bytes(text).ok_or_else(wrong)?),
            "age" => limits.age = Some(duration::parse(text).map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn limits_are_read_and_others_refused() {
        let read = |value: Value| limits(&value);
        let given = read(json!({"size": "1K", "age": "1d"})).expect("understood");
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(given, Limits { size: Some(1024), age: Some(day) });
        assert_eq!(read(json!({})).expect("nothing"), Limits::default());
        for wrong in [json!([]), json!({"size": 1}), json!({"free": "1G"}), json!({"age": "x"})] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
