use super::*;

/// A mount of a whole filesystem. Its type serves as its device number.
pub(crate) fn mount(id: u32, parent: u32, fs_type: &str, point: &str) -> Mount {
    Mount {
        id,
        parent,
        dir: "/".into(),
        point: point.into(),
        fs_type: fs_type.into(),
        device: fs_type.into(),
        source: OsString::new(),
        read_only: false,
        upper: PathBuf::new(),
        work: PathBuf::new(),
        redirect_dir: PathBuf::new(),
        user_attributes: false,
    }
}

fn reachable_points(mounts: &[Mount]) -> Vec<String> {
    let reachable = only_reachable(mounts.to_vec());
    reachable.iter().map(|mount| format!("{} {}", mount.id, mount.point.display())).collect()
}

#[test]
fn the_layers_of_an_overlay_are_parsed() {
    let line = b"45 27 0:39 / /m rw - overlay overlay rw,lowerdir=/l,upperdir=/s/u\\054\\0401,workdir=/s/w,uuid=on";
    let mount = parse(line).expect("a mount");
    assert_eq!(
        (mount.upper.as_path(), mount.work.as_path()),
        ("/s/u, 1".as_ref(), "/s/w".as_ref())
    );
    let line = b"45 27 0:39 / /m ro - overlay overlay ro,lowerdir=/l:/l2";
    assert!(parse(line).expect("a mount").upper.as_os_str().is_empty());
}

#[test]
fn a_line_of_mountinfo_is_parsed() {
    let line =
        b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
    let mount = parse(line).expect("a mount");
    assert_eq!((mount.id, mount.parent), (36, 35));
    assert_eq!((mount.point.as_path(), mount.dir.as_path()), ("/mnt 2".as_ref(), "/mnt1".as_ref()));
    assert!(!mount.is_whole());
    assert_eq!((mount.fs_type.as_str(), mount.device.as_str()), ("ext3", "98:0"));
    assert_eq!((mount.source.to_str(), mount.read_only), (Some("/dev/root"), false));
    assert_eq!(mount.place_of(Path::new("/mnt 2/a")), Path::new("/mnt1/a"));
    assert_eq!(mount.place_of(Path::new("/mnt 2")), Path::new("/mnt1"));
}

#[test]
fn any_bytes_are_parsed_without_a_panic() {
    let line = b"36 35 98:0 / /a\\040b rw - ext3 /dev/root rw\n".repeat(3);
    for cut in 0..line.len() {
        for byte in [0, b' ', b'-', b'\\', b'\n', 0xff] {
            let mut text = line.clone();
            text[cut] = byte;
            only_reachable(parse_all(&text[..cut]));
            only_reachable(parse_all(&text));
        }
    }
    // Two mounts that are mounted on each other.
    only_reachable(parse_all(b"1 2 0:1 / /a rw - x x rw\n2 1 0:1 / /a/b rw - x x rw"));
}

#[test]
fn a_path_is_on_the_mount_with_the_longest_point_and_of_equal_ones_on_the_last() {
    let mounts =
        [mount(1, 0, "ext4", "/"), mount(2, 1, "xfs", "/srv"), mount(3, 2, "tmpfs", "/srv")];
    let found = |path: &str| {
        Points::of(&mounts).mount_of(Path::new(path)).map(|mount| mount.fs_type.as_str())
    };
    assert_eq!(found("/srv/x"), Some("tmpfs"));
    assert_eq!(found("/srvx"), Some("ext4"));
}

#[test]
fn a_mount_hides_mounts_on_the_same_directory_and_below_it() {
    let mut mounts = vec![
        mount(1, 0, "ext4", "/"),
        mount(2, 1, "xfs", "/srv/a"),
        mount(3, 2, "tmpfs", "/srv/a/b"),
        mount(4, 1, "proc", "/proc"),
    ];
    let all = ["1 /", "2 /srv/a", "3 /srv/a/b", "4 /proc"];
    assert_eq!(reachable_points(&mounts), all);
    // A mount on the same directory.
    mounts.push(mount(5, 2, "tmpfs", "/srv/a"));
    assert_eq!(reachable_points(&mounts), ["1 /", "4 /proc", "5 /srv/a"]);
    mounts.pop();
    // A mount on a directory above.
    mounts.push(mount(5, 1, "tmpfs", "/srv"));
    mounts.push(mount(6, 5, "tmpfs", "/srv/a"));
    assert_eq!(reachable_points(&mounts), ["1 /", "4 /proc", "5 /srv", "6 /srv/a"]);
}

#[test]
fn the_top_mount_of_a_namespace_can_be_its_own_parent() {
    let mut rootfs = vec![
        mount(1, 1, "rootfs", "/"),
        mount(2, 1, "proc", "/proc"),
        mount(3, 1, "ext4", "/srv/a"),
        mount(4, 3, "tmpfs", "/srv/a/b"),
    ];
    let all = ["1 /", "2 /proc", "3 /srv/a", "4 /srv/a/b"];
    assert_eq!(reachable_points(&rootfs[..1]), all[..1]);
    assert_eq!(reachable_points(&rootfs), all);
    // `mount -t tmpfs none /`: paths of processes that run already do not lead there.
    rootfs.push(mount(5, 1, "tmpfs", "/"));
    rootfs.push(mount(6, 5, "tmpfs", "/srv"));
    assert_eq!(reachable_points(&rootfs), all);
    let chroot = [mount(7, 3, "ext4", "/"), mount(8, 7, "tmpfs", "/tmp")];
    assert_eq!(reachable_points(&chroot), ["7 /", "8 /tmp"]);
}

#[test]
fn a_root_that_mountinfo_does_not_list_is_added() {
    let listed = vec![mount(1, 0, "ext4", "/"), mount(2, 1, "tmpfs", "/tmp")];
    assert_eq!(with_root(listed.clone()), listed);
    // /proc is not mounted.
    assert_eq!(with_root(Vec::new()), []);
    let chroot = with_root(vec![mount(2, 1, "tmpfs", "/tmp"), mount(3, 1, "proc", "/proc")]);
    assert_eq!(reachable_points(&chroot).len(), 3);
    let found = |path: &str| {
        Points::of(&chroot).mount_of(Path::new(path)).map(|mount| mount.fs_type.as_str())
    };
    assert_eq!((found("/srv"), found("/tmp/a")), (Some("unknown"), Some("tmpfs")));
}
