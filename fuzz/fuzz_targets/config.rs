//! Any text as a configuration and as a state file: an error is one line with its place; what is accepted is written and
//! read again the same.

#![no_main]

use fsmon_service::{Config, State};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let config = Config::from_toml(text, "f");
    match &config {
        Ok(config) => {
            let state = State { watches: config.watches.clone() };
            let written = state.to_toml().expect("a path from a text is one");
            assert_eq!(State::from_toml(&written, "f"), Ok(state));
            assert_eq!(config.with_state(&State::default()), config.watches);
        }
        Err(error) => {
            let line = error.to_string();
            assert!(line.starts_with("f:") && !line.contains(['\n', '\x1b']), "{line}");
        }
    }
    if let Ok(state) = State::from_toml(text, "f") {
        // It may have more than a configuration with its history allows, and nothing else.
        assert!(config.is_err() || config.is_ok_and(|config| config.watches == state.watches));
    }
});
