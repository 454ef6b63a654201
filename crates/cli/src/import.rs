//! `fsmon import`: prints what older versions had configured as `[[watch]]` tables.

use crate::args::client::ImportArgs;
use fsmon_engine::{Error, ErrorKind};
use fsmon_present::message::{self, counted, shown};
use fsmon_service::import::{Existing, Home, Import, Places, Store, Version, is_file_now, write};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Reads the files, says what could not be taken over, and prints the rest.
///
/// # Errors
/// Nothing could be read; the output cannot be written.
pub(crate) fn run(args: &ImportArgs) -> Result<ExitCode, Error> {
    let places = Places::of_this_process();
    let mut import = Import::default();
    if args.files.is_empty() {
        read_homes(&mut import, &places)?;
    } else {
        read_files(&mut import, &args.files, &places);
    }
    if import.files() == 0 {
        // Each file was named with what is wrong with it.
        return Ok(ExitCode::FAILURE);
    }
    let imported = import.finish(is_file_now);
    imported.notes.kept().iter().for_each(message::print);
    imported.notes.about_more().iter().for_each(message::print);
    let text = imported.to_toml()?;
    if args.output == Path::new("-") {
        print(&text)?;
    } else {
        save(args, &text)?;
        let watches = counted(imported.watches.len() as u64, "watch", "watches");
        let file = shown(&args.output);
        message::print(format_args!(
            "{watches} written to {file}; to see what they do: fsmon daemon --check --config {file}"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads what the user named, and nothing that is named there.
fn read_files(import: &mut Import, files: &[PathBuf], places: &Places) {
    for file in files {
        if let Err(error) = import.read(file, places.owner) {
            message::print(error);
        }
    }
    let named = |store: &Store, home: Option<&Home>| {
        home.map_or_else(|| store.path.clone(), |home| home.expanded(&store.path))
    };
    for store in import.stores().to_vec() {
        let path = named(&store, places.homes.first());
        if !files.contains(&path) {
            let path = shown(&path);
            let text =
                format!("what is watched is in {path}; if it is not among the FILEs, add it");
            import.notes().add(&store.at, text);
        }
    }
}

/// Reads what is where the older versions keep it.
///
/// # Errors
/// There is nothing.
fn read_homes(import: &mut Import, places: &Places) -> Result<(), Error> {
    let (mut looked_for, mut there) = (Vec::new(), 0);
    let mut read = |import: &mut Import, path: &Path| {
        looked_for.push(shown(path));
        match import.read(path, places.owner) {
            Err(error) if error.kind() == ErrorKind::NotFound => return false,
            Err(error) => message::print(error),
            Ok(()) => {}
        }
        there += 1;
        true
    };
    for home in &places.homes {
        let known = import.stores().len();
        read(import, &home.settings());
        let named = import.stores()[known..].to_vec();
        let is_named = |version| named.iter().any(|store| store.version == version);
        let usual = home.stores().into_iter().filter(|(version, _)| !is_named(*version));
        let of_home = named.iter().map(|store| (store.version, home.expanded(&store.path)));
        let mut versions: Vec<Version> = Vec::new();
        for (version, store) in of_home.chain(usual).collect::<Vec<_>>() {
            if read(import, &store) {
                versions.push(version);
            }
        }
        if versions.contains(&Version::Managed) && versions.contains(&Version::Monitored) {
            message::print(format_args!(
                "{} has watches of 0.2.6 and of 0.5; if only one of them still runs, name its FILE alone",
                shown(&home.dir)
            ));
        }
    }
    if there > 0 {
        return Ok(());
    }
    let line = match looked_for.len() {
        0 => "this user has no home directory; name the files".to_owned(),
        _ => format!(
            "there is none of {}; name the files of fsmon 0.2.6 or 0.5",
            looked_for.join(", ")
        ),
    };
    Err(Error::new(ErrorKind::NotFound, line))
}

fn save(args: &ImportArgs, text: &str) -> Result<(), Error> {
    let existing = if args.force { Existing::Replaced } else { Existing::Kept };
    write(&args.output, text, existing).map_err(|error| match error.kind() {
        ErrorKind::Busy => error.and("; name another, or add --force"),
        _ => error,
    })
}

fn print(text: &str) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::os("cannot write to standard output", error))
        }
        _ => Ok(()),
    }
}
