//! The documents and the program say the same.

use fsmon_harness::fsmon;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The long options of a command, as `--help` has them.
fn options(command: Option<&str>) -> BTreeSet<String> {
    let help = fsmon(command.into_iter().chain(["--help"])).output().expect("it runs");
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    let heads = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    heads.flat_map(long_options).collect()
}

/// What begins with two dashes in a text.
fn long_options(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    let mut found = Vec::new();
    for (at, _) in text.match_indices("--") {
        let before = text[..at].chars().next_back();
        let rest: String = text[at + 2..].chars().take_while(|c| is_part(*c)).collect();
        let begins = before.is_none_or(|c| !is_part(c));
        if begins && rest.len() > 1 && !rest.starts_with('-') {
            found.push(format!("--{rest}"));
        }
    }
    found
}

/// The lines of the shell blocks of a document.
fn shell(document: &str) -> Vec<String> {
    let blocks = document.split("```").skip(1).step_by(2).filter(|block| block.starts_with("sh\n"));
    blocks.flat_map(|block| block.lines().skip(1).map(str::to_owned)).collect()
}

#[test]
fn the_guide_has_every_option() {
    let guide = read("docs/guide.md");
    let named: BTreeSet<_> = long_options(&guide).into_iter().collect();
    let (watch, decode) = (options(None), options(Some("decode")));
    for option in
        watch.union(&decode).filter(|option| !matches!(&option[..], "--help" | "--version"))
    {
        assert!(named.contains(option), "docs/guide.md lacks {option}");
    }
}

#[test]
fn examples_have_options_that_there_are() {
    let all = Commands::new();
    for document in ["README.md", "docs/guide.md", "docs/operations.md", "docs/migrating.md"] {
        let mut count = 0;
        for line in shell(&read(document)) {
            let line = line.split('#').next().unwrap_or_default();
            let Some(own) = line.trim_start().strip_prefix("fsmon ") else { continue };
            all.assert_has_options(own, document);
            count += 1;
        }
        assert!(count >= 3, "{document} has {count} examples");
    }
}

/// What older versions had is in the first columns of a table; the last one has what there is now.
#[test]
fn what_replaces_an_older_command_is_there() {
    let all = Commands::new();
    let document = "docs/migrating.md";
    let text = read(document);
    let headings = text.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(headings, 12, "the points of a migration");
    let mut count = 0;
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        // `\|` is part of a cell.
        let cells: Vec<_> = row.replace(r"\|", "\u{1}").split('|').map(str::to_owned).collect();
        let now = &cells[2..];
        for span in now.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            let Some(own) = span.strip_prefix("fsmon ") else { continue };
            all.assert_has_options(own, document);
            let word = own.split_whitespace().next().expect("a word");
            let is_command = all.0.iter().any(|(command, _)| command.as_deref() == Some(word));
            assert!(is_command || word.starts_with(['-', '/']), "{document}: {word} in `{span}`");
            count += 1;
        }
    }
    assert!(count >= 20, "{count} commands");
}

/// All commands, and the options of each; `None` is the one that watches.
struct Commands(Vec<(Option<String>, BTreeSet<String>)>);

impl Commands {
    fn new() -> Self {
        let help = fsmon(["--help"]).output().expect("it runs");
        let help = String::from_utf8(help.stdout).expect("UTF-8");
        let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = list.take_while(|line| !line.is_empty());
        let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
        let names = names.filter(is_name).filter_map(|line| line.split_whitespace().next());
        let all: Vec<_> = std::iter::once(None)
            .chain(names.map(|name| Some(name.to_owned())))
            .map(|command| (command.clone(), options_of(command.as_deref())))
            .collect();
        assert!(all.len() > 10, "{all:?}");
        Commands(all)
    }

    /// `own` is a command line behind `fsmon`.
    fn assert_has_options(&self, own: &str, document: &str) {
        let own = own.split(['|', '&']).next().unwrap_or_default();
        let word = own.split_whitespace().next();
        let named =
            self.0.iter().find(|(command, _)| command.is_some() && command.as_deref() == word);
        let (_, known) = named.unwrap_or(&self.0[0]);
        for option in long_options(own) {
            assert!(known.contains(&option), "{document}: {option} in `fsmon {own}`");
        }
    }
}

/// `fsmon convert` is a program of its own, which may not be built here: its options are in its source.
fn options_of(command: Option<&str>) -> BTreeSet<String> {
    match command {
        Some("convert") => ["--to", "--output", "--partition"].map(str::to_owned).into(),
        command => options(command),
    }
}

#[test]
fn every_field_of_json_is_in_its_table() {
    let document = read("docs/output.md");
    let table = document.split("## CSV").next().expect("the part about JSON");
    let told: BTreeSet<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|line| line.split('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let mut made = BTreeSet::new();
    let sources =
        ["json", "exe", "words"].map(|name| read(&format!("crates/present/src/text/{name}.rs")));
    for source in &sources {
        let code = source.split("#[cfg(test)]").next().expect("the code before the tests");
        for (at, _) in code.match_indices("\\\":") {
            let name = code[..at].rsplit('"').next().expect("a part");
            if !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
            {
                made.insert(name);
            }
        }
    }
    assert!(made.len() > 20, "the source has {made:?}");
    for name in &made {
        assert!(told.contains(name), "docs/output.md lacks {name}");
    }
    for name in &told {
        let is_made = sources.iter().any(|source| source.contains(name));
        assert!(is_made, "docs/output.md has {name}, which no source has");
    }
}

#[test]
fn every_field_of_a_change_is_in_its_table() {
    let document = read("docs/output.md");
    let section = document.split("## Changes").nth(1).expect("a section");
    let section = section.split("\n## ").next().expect("its end");
    let source = read("crates/present/src/text/change.rs");
    let code = source.split("#[cfg(test)]").next().expect("the code before the tests");
    let mut count = 0;
    for (at, _) in code.match_indices("\\\":") {
        let name = code[..at].rsplit('"').next().expect("a part");
        assert!(section.contains(&format!("`{name}`")), "docs/output.md lacks {name}");
        count += 1;
    }
    assert!(count >= 8, "{count} fields");
}

#[test]
fn the_readme_is_read_in_a_minute() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= 700, "README.md has {words} words");
}

/// Links to files of the project lead somewhere.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = Vec::new();
    for dir in [".", "docs", "docs/perf", "docs/internals", "docs/decisions"] {
        for entry in root.join(dir).read_dir().expect("a directory").flatten() {
            let name = entry.file_name().into_string().expect("UTF-8");
            if name.ends_with(".md") {
                documents.push(Path::new(dir).join(name).display().to_string());
            }
        }
    }
    assert!(documents.len() > 15, "{documents:?}");
    for document in documents {
        let text = read(&document);
        let dir = Path::new(&document).parent().expect("a file");
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().expect("a part");
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir).join(target);
            assert!(path.exists(), "{document}: {target}");
        }
    }
}

/// A gap, and what stops an attacker, name the test that shows it.
#[test]
fn tests_that_documents_name_are_there() {
    assert!(tests_in("docs/accuracy.md") >= 10);
    assert!(tests_in("docs/threats.md") >= 15);
}

/// Checks that the tests are there that a document names in parentheses. Returns how many times it names any.
fn tests_in(document: &str) -> usize {
    let document = read(document);
    let mut count = 0;
    let places = ["(`tests/", "(`crates/"];
    for (at, _) in places.iter().flat_map(|place| document.match_indices(place)) {
        let reference = document[at + 1..].split(')').next().expect("a part");
        let mut file = "";
        for name in reference.split('`').skip(1).step_by(2) {
            if name.contains('/') {
                file = name;
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
                assert!(path.exists(), "{file}");
            } else {
                assert!(read(file).contains(&format!("fn {name}(")), "{file} has no {name}");
            }
        }
        count += 1;
    }
    count
}

/// The libraries have no command line: they say which setting is meant, and `crates/cli/src/remedies.rs` names its option.
#[test]
fn no_library_names_an_option() {
    let mut count = 0;
    for dir in ["engine/src", "crates/format/src", "crates/present/src", "crates/store/src"] {
        for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)) {
            let source = std::fs::read_to_string(&path).expect("UTF-8");
            let code = source.split("#[cfg(test)]\nmod tests {").next().expect("a part");
            for literal in literals(code) {
                let options = long_options(literal);
                assert!(options.is_empty(), "{}: {options:?} in \"{literal}\"", path.display());
                count += 1;
            }
        }
    }
    assert!(count > 1000, "{count} literals");
}

/// The Rust files in a directory and below it, without those that are tests.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in dir.read_dir().expect("a directory").flatten() {
        let path = entry.path();
        let name = entry.file_name().into_string().expect("UTF-8");
        if path.is_dir() {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_test.rs") {
            found.push(path);
        }
    }
    found
}

/// The string literals of a source, without those in comments. An escape stays as it is written.
fn literals(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut left = source;
    while let Some(at) = left.find(['"', '\'', '/', 'r']) {
        let is_raw = left[at..].starts_with("r#\"") || left[at..].starts_with("r\"");
        let (begin, end) = match left.as_bytes()[at] {
            b'/' if left[at..].starts_with("//") => (at, length(&left[at..], "\n")),
            b'r' if is_raw => {
                let quote = left[at..].find('"').expect("it begins") + 1;
                let end = format!("\"{}", "#".repeat(quote - 2));
                found.push(&left[at + quote..][..length(&left[at + quote..], &end)]);
                (at + quote, length(&left[at + quote..], &end) + end.len())
            }
            b'"' => {
                let len = quoted(&left[at + 1..]);
                found.push(&left[at + 1..][..len]);
                (at + 1, len + 1)
            }
            b'\'' => (at + 1, character(&left[at + 1..])),
            _ => (at, 1),
        };
        left = &left[begin + end..];
    }
    found
}

/// How much of a text is before its first `end`.
fn length(text: &str, end: &str) -> usize {
    text.find(end).unwrap_or(text.len())
}

/// How long a string literal is up to its closing quote.
fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().find(|(_, letter)| {
        let is_end = *letter == '"' && !is_escaped;
        is_escaped = *letter == '\\' && !is_escaped;
        is_end
    });
    end.expect("a literal ends").0
}

/// How long what follows a single quote is: a character with its closing quote, or nothing of a lifetime.
fn character(text: &str) -> usize {
    let mut letters = text.char_indices();
    match letters.next() {
        Some((_, '\\')) => 2 + length(&text[2..], "'") + 1,
        Some(_) => letters.next().filter(|(_, next)| *next == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

#[test]
fn literals_are_told_from_comments_and_characters() {
    let source = "let a = \"x \\\" --y\"; // \"not --this\"\n/// it's\nf('\"', '\\'', b'/', r#\"r \"q\" --z\"#); fn g<'a>(b: &'a str) { \"last\" }";
    assert_eq!(literals(source), ["x \\\" --y", "r \"q\" --z", "last"]);
    assert_eq!(long_options("cmd (--cfg x) a--b"), ["--cfg"]);
}
