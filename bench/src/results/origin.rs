//! The origin of figures.

use crate::machine;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::process::Command;

/// When, where, for which commit and by which command something was measured.
#[derive(Serialize, Deserialize)]
pub(super) struct Origin {
    /// In UTC, to the second.
    pub(super) date: String,
    /// The commit of the workspace; older results do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<String>,
    /// The command line; older results do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<String>,
    pub(super) machine: Value,
}

impl Origin {
    /// This command, here and now.
    pub(super) fn here() -> Self {
        Origin {
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            commit: commit(),
            command: Some(command(std::env::args().skip(1))),
            machine: machine::describe(),
        }
    }
}

/// `1a2b3c4d`, or `1a2b3c4d-dirty` where files differ from the commit.
fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=8", "--exclude=*"]);
    let output = git.current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| name.trim().to_owned())
}

/// The command line as one would type it, without paths of this machine.
fn command(args: impl Iterator<Item = String>) -> String {
    let word = |arg: String| {
        // A value can follow its option behind a `=`.
        let (option, value) =
            arg.split_once('=').map_or(("", &arg[..]), |(name, value)| (name, value));
        if value.contains('/') {
            let equals = if option.is_empty() { "" } else { "=" };
            format!(" {option}{equals}PATH")
        } else if arg.contains(char::is_whitespace) {
            format!(" '{arg}'")
        } else {
            format!(" {arg}")
        }
    };
    format!("fsmon-bench{}", args.map(word).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_again_and_names_no_path() {
        let args = ["--fsmon-old", "/opt/old", "--tree=../src", "--with", "json --cpu 1"];
        let args = args.map(str::to_owned);
        let expected = "fsmon-bench --fsmon-old PATH --tree=PATH --with 'json --cpu 1'";
        assert_eq!(command(args.into_iter()), expected);
    }
}
