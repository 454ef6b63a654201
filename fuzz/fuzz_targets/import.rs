//! Any bytes as a file of an older fsmon: what comes out is a configuration, and each note is of a line that there is.

#![no_main]

use fsmon_service::import::Import;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut import = Import::default();
    if let Err(error) = import.take(bytes, "f") {
        let line = error.to_string();
        assert!(line.starts_with('f') && !line.contains('\n'), "{line}");
        return;
    }
    let lines = bytes.split(|byte| *byte == b'\n').count();
    // That a path is a file is up to the host; here every fourth is.
    let imported = import.finish(|path| path.as_os_str().len() % 4 == 0);
    for note in imported.notes.kept() {
        assert!((1..=lines).contains(&note.at.line), "{note}");
    }
    imported.to_toml().expect("a configuration");
});
