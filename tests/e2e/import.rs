//! `fsmon import`: what fsmon 0.2.6 and 0.5.6 wrote becomes a configuration that the daemon takes.

use fsmon_harness::{Area, Ended, Fsmon, fsmon, is_root};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// A home directory with these files below it.
fn home(area: &Area, files: &[(&str, &str)]) -> PathBuf {
    let home = area.path("home");
    for (name, text) in files {
        let path = home.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, text).expect("written");
    }
    home
}

/// As a user whose home directory this is, without sudo.
fn import(home: &Path, args: &[&str]) -> Ended {
    let mut command = fsmon(["import"]);
    command.args(args).env("HOME", home).env_remove("XDG_CONFIG_HOME").env_remove("SUDO_UID");
    Fsmon::run(&mut command)
}

fn printed(ended: &Ended) -> String {
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    String::from_utf8(ended.stdout.clone()).expect("UTF-8")
}

/// What `fsmon daemon --check` says to a configuration that has this in it.
fn check(area: &Area, tables: &str) -> String {
    let (path, at) = (area.path("checked.toml"), area.path("").display().to_string());
    let own = format!(
        "history.dir = '{at}/history'\nstate.file = '{at}/watches.toml'\ncontrol.group = ''\n{tables}"
    );
    fs::write(&path, own).expect("written");
    let ended = Fsmon::run(fsmon(["daemon", "--check", "--config"]).arg(&path));
    assert_eq!(ended.status.code(), Some(0), "{tables}\n{:?}", ended.stderr);
    String::from_utf8(ended.stdout).expect("UTF-8")
}

/// As `fsmon add` of 0.2.6 made it, with `-r`, `-t`, `-s`, `-e` and `--exclude-cmd`. A path is a file.
fn managed(watched: &Path) -> String {
    let at = watched.display();
    format!(
        "{{\"path\":\"{at}\",\"recursive\":true,\"types\":[\"CREATE\",\"OPEN\"],\"size\":\">=1.5KB\",\
         \"exclude\":[\"\\\\.swp$\",\"~$\"],\"exclude_cmd\":[\"rsync\"]}}\n\
         {{\"path\":\"/etc/passwd\",\"recursive\":null,\"types\":null,\"size\":null,\"exclude\":null,\
         \"exclude_cmd\":[\"!nginx\"]}}\n"
    )
}

const MANAGED: &str = ".local/share/fsmon/managed.jsonl";
const MONITORED: &str = ".local/share/fsmon/monitored.jsonl";
const SETTINGS: &str = ".config/fsmon/fsmon.toml";

#[test]
fn what_0_2_6_had_is_a_configuration_that_the_daemon_takes() {
    let area = Area::new();
    let watched = area.watched();
    let settings = "[managed]\npath = \"~/.local/share/fsmon/managed.jsonl\"\n[logging]\n\
                    path = \"~/.local/state/fsmon\"\nkeep_days = 7\n[socket]\npath = \"/tmp/fsmon-<UID>.sock\"\n";
    let home = home(&area, &[(SETTINGS, settings), (MANAGED, &managed(&watched))]);
    let ended = import(&home, &[]);
    let tables = printed(&ended);
    let said = check(&area, &tables);
    let at = watched.display();
    for line in [
        format!(
            "  {at}: CREATE OPEN; recursive; files of size >=1536; exclude_regex \\\\.swp$,~$; exclude_cmd *rsync*"
        ),
        "  /etc: CREATE RENAME ATTRIB CLOSE_WRITE DELETE; not recursive; include /passwd"
            .to_owned(),
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    let exclude = "exclude_regex = ['\\.swp$', \"~$\"]\nexclude_cmd = [\"*rsync*\"]\n";
    assert!(tables.contains(exclude), "{tables}");
    let (settings, store) = (home.join(SETTINGS), home.join(MANAGED));
    let (settings, store) = (settings.display(), store.display());
    for (line, words) in [
        (format!("fsmon: {settings}:4: `logging.path` "), "history.dir"),
        (format!("fsmon: {settings}:5: `logging.keep_days` "), "history.keep.age = \"7d\""),
        (format!("fsmon: {settings}:7: `socket.path` "), "control.socket"),
        (format!("fsmon: {store}:2: /etc/passwd: is a file"), "/etc is watched"),
        (
            format!("fsmon: {store}:2: /etc/passwd: `exclude_cmd` !nginx"),
            "decode --cmd '*nginx*' DIR",
        ),
    ] {
        let found = ended.stderr.iter().find(|said| said.starts_with(&line));
        let found = found.unwrap_or_else(|| panic!("{line}: {:#?}", ended.stderr));
        assert!(found.contains(words), "{found}");
    }
    assert_eq!(ended.stderr.len(), 5, "{:#?}", ended.stderr);
}

#[test]
fn what_0_5_had_is_a_configuration_that_the_daemon_takes() {
    let area = Area::new();
    let watched = area.watched();
    let at = watched.display();
    let groups = format!(
        "{{\"cmd\":\"_global\",\"paths\":{{\"{at}\":{{\"recursive\":true,\"size\":\"100MB\",\"max_depth\":1}},\
         \"/srv/later\":{{\"recursive\":false}}}}}}\n\
         {{\"cmd\":\"bash\",\"paths\":{{\"{at}\":{{\"recursive\":false,\"types\":[\"RENAME\"]}}}}}}\n"
    );
    let settings =
        "[monitored]\npath = \"~/elsewhere.jsonl\"\n[logging]\n[cache]\nbuffer_size = 1\n";
    let home = home(
        &area,
        &[(SETTINGS, settings), ("elsewhere.jsonl", &groups), (MONITORED, "not read\n")],
    );
    let ended = import(&home, &[]);
    let said = check(&area, &printed(&ended));
    for line in [
        format!("  {at}: CREATE RENAME ATTRIB CLOSE_WRITE DELETE; 2 levels"),
        "  /srv/later: CREATE RENAME ATTRIB CLOSE_WRITE DELETE; not recursive; pending: it does \
         not exist yet"
            .to_owned(),
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    for words in ["`cache.buffer_size` has no counterpart", "group bash: ", "is watched once"] {
        assert!(ended.stderr.iter().any(|said| said.contains(words)), "{:#?}", ended.stderr);
    }
    assert_eq!(ended.stderr.len(), 3, "{:#?}", ended.stderr);
}

#[test]
fn a_file_is_written_once_and_closed_to_others() {
    let area = Area::new();
    let home = home(&area, &[(MANAGED, &managed(&area.watched()))]);
    let (file, store) = (area.path("new.toml"), home.join(MANAGED));
    let (name, store) = (file.to_str().expect("UTF-8"), store.to_str().expect("UTF-8"));
    let ended = import(&home, &["-o", name, store]);
    assert_eq!(printed(&ended), "");
    let said = format!("fsmon: 2 watches written to {name}; to see what they do: ");
    assert!(ended.stderr.iter().any(|line| line.starts_with(&said)), "{:?}", ended.stderr);
    let written = fs::read_to_string(&file).expect("written");
    check(&area, &written);
    assert_eq!(written, printed(&import(&home, &[store])));
    assert_eq!(file.metadata().expect("there").permissions().mode() & 0o137, 0);

    fs::write(&file, "mine").expect("written");
    import(&home, &["-o", name, store]).assert_failed(1, &[name, "there already", "--force"]);
    assert_eq!(fs::read_to_string(&file).expect("there"), "mine");
    printed(&import(&home, &["--force", "-o", name, store]));
    assert_eq!(fs::read_to_string(&file).expect("there"), written);
}

#[test]
fn a_file_that_could_be_anybodys_is_not_read() {
    let area = Area::new();
    let home = home(&area, &[(MANAGED, &managed(&area.watched()))]);
    let store = home.join(MANAGED);
    let link = area.path("link");
    symlink(&store, &link).expect("made");
    let [link, plain] = [&link, &store].map(|path| path.to_str().expect("UTF-8").to_owned());
    import(&home, &[&link]).assert_failed(1, &[&link, "symbolic link", "name the file"]);
    // What can be read is, and the rest is said.
    let ended = import(&home, &[&link, &plain, "/no/such/file"]);
    assert!(printed(&ended).contains("[[watch]]"));
    assert!(ended.stderr.iter().any(|line| line.contains("/no/such/file")), "{:?}", ended.stderr);

    fs::set_permissions(&store, fs::Permissions::from_mode(0o666)).expect("opened");
    import(&home, &[]).assert_failed(1, &[&plain, "writable for all", "chmod o-w"]);
    fs::set_permissions(&store, fs::Permissions::from_mode(0o600)).expect("closed");
    if !is_root() {
        return;
    }
    chown(&store, Some(4242), None).expect("given away");
    import(&home, &[&plain]).assert_failed(1, &[&plain, "belongs to uid 4242"]);
    // Under sudo of that user it is the caller's.
    let mut command = fsmon(["import"]);
    printed(&Fsmon::run(command.arg(&store).env("HOME", &home).env("SUDO_UID", "4242")));
}

#[test]
fn nothing_to_read_and_wrong_usage_are_told_apart() {
    let area = Area::new();
    let home = home(&area, &[("x", "")]);
    import(&home, &[]).assert_failed(1, &["there is none of ", MANAGED, MONITORED, SETTINGS]);
    import(&home, &["/etc/passwd"]).assert_failed(1, &["/etc/passwd is no fsmon.toml"]);
    import(&home, &["--nonsense"]).assert_failed(2, &["fsmon import --help"]);
    assert_eq!(
        printed(&import(&home, &[home.join("x").to_str().expect("UTF-8")])).lines().count(),
        1
    );
}
