use super::super::mounts::{tests::mount, with_root};
use super::*;

fn view(mounts: &[Mount], roots: &[&str]) -> View {
    let points = Points::of(mounts);
    let spans = roots.iter().filter_map(|path| Span::new(&points, Path::new(path)));
    let roots = spans
        .map(|span| WatchedRoot {
            named: span.path.clone(),
            span,
            is_covered: false,
            may_be_missing: false,
            followed: Followed::No,
        })
        .collect();
    let (elsewhere, skips, handling) = (Vec::new(), None, BelowRoots::Report);
    let (filesystems, below, slow) = (HashSet::new(), Vec::new(), Vec::new());
    let mut view = View { roots, elsewhere, skips, handling, filesystems, below, slow };
    view.below = view.find(mounts);
    view
}

/// One that follows mounts; what is mounted on these cannot be watched.
fn following(mounts: &[Mount], roots: &[&str], unfit: &'static [&str]) -> View {
    let mut next = 0;
    let trial = move |point: &Path| {
        next += 1;
        (!unfit.iter().any(|unfit| point == Path::new(unfit))).then_some(next)
    };
    View { handling: BelowRoots::Follow(Box::new(trial)), ..view(mounts, roots) }
}

/// What the reader would be sent.
fn changes(view: &mut View, mounts: &[Mount]) -> Vec<String> {
    // The first one of a host is never unmounted.
    let ids = mounts.iter().map(|mount| mount.id).chain([1]).collect();
    let line = |control: Control| match control {
        Control::Mount(change) => {
            format!("{:?} {}", change.happened, String::from_utf8_lossy(&change.point))
        }
        Control::Follow(followed) => format!("Follow {}", followed.at),
        Control::Unfollow(at) => format!("Unfollow {at}"),
        Control::Slow(_) | Control::Stop => panic!("that is sent elsewhere"),
    };
    view.look(mounts, &ids).into_iter().filter_map(|news| news.control).map(line).collect()
}

#[test]
fn mounts_come_and_go() {
    let mut mounts = vec![mount(1, 0, "ext4", "/"), mount(2, 1, "tmpfs", "/srv/early")];
    let mut view = view(&mounts, &["/srv"]);
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
    mounts.push(mount(3, 1, "xfs", "/srv/late"));
    mounts.push(mount(4, 1, "xfs", "/home"));
    assert_eq!(changes(&mut view, &mounts), ["Mounted /srv/late"]);
    // mount --move
    mounts[2].point = "/srv/moved".into();
    assert_eq!(changes(&mut view, &mounts), ["Unmounted /srv/late", "Mounted /srv/moved"]);
    mounts[2].read_only = true;
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
    mounts.truncate(1);
    assert_eq!(changes(&mut view, &mounts), ["Unmounted /srv/early", "Unmounted /srv/moved"]);
}

#[test]
fn what_is_below_an_unwatched_mount_stays_hidden_with_it() {
    let mut mounts = vec![
        mount(1, 0, "ext4", "/"),
        mount(2, 1, "tmpfs", "/srv/a"),
        mount(3, 2, "xfs", "/srv/a/b"),
    ];
    let mut view = view(&mounts, &["/srv"]);
    mounts.pop();
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
    // Another instance in the same place.
    mounts[1].id = 5;
    assert_eq!(changes(&mut view, &mounts), ["Mounted /srv/a"]);
}

#[test]
fn a_covered_root_and_what_is_below_it() {
    let mut mounts = vec![mount(1, 0, "ext4", "/"), mount(2, 1, "xfs", "/srv/www/a")];
    let mut view = view(&mounts, &["/srv/www"]);
    let was = mounts.clone();
    // On a directory above it; what is below the root is hidden, and something else is there.
    mounts = vec![
        mount(1, 0, "ext4", "/"),
        mount(3, 1, "tmpfs", "/srv"),
        mount(4, 3, "xfs", "/srv/www/c"),
    ];
    assert_eq!(changes(&mut view, &mounts), ["Mounted /srv/www"]);
    mounts.pop();
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
    assert_eq!(changes(&mut view, &was), ["Unmounted /srv/www"]);
    // The same directory through another mount hides nothing.
    mounts = was.clone();
    mounts.push(Mount { dir: "/srv/www".into(), ..mount(5, 1, "ext4", "/srv/www") });
    mounts.remove(1);
    mounts.push(mount(6, 5, "xfs", "/srv/www/a"));
    assert_eq!(changes(&mut view, &mounts), ["Mounted /srv/www/a"]);
}

#[test]
fn the_filesystem_of_a_root_goes_and_comes_back() {
    let mut mounts = vec![mount(1, 0, "ext4", "/"), mount(2, 1, "xfs", "/mnt")];
    let mut view = view(&mounts, &["/mnt/data"]);
    mounts.pop();
    assert_eq!(changes(&mut view, &mounts), ["Gone /mnt/data"]);
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
    mounts.push(mount(3, 1, "xfs", "/mnt"));
    assert_eq!(changes(&mut view, &mounts), ["Mounted /mnt/data"]);
}

fn bind(id: u32, dir: &str, point: &str) -> Mount {
    Mount { dir: dir.into(), ..mount(id, 1, "ext4", point) }
}

#[test]
fn the_directory_that_is_mounted_on_a_root_is_renamed() {
    let mut mounts = vec![mount(1, 0, "ext4", "/"), bind(2, "/a/x", "/srv")];
    let mut view = view(&mounts, &["/srv/www"]);
    // It may be another mount with the same id: the reader has a look.
    mounts[1].dir = "/b/x".into();
    assert_eq!(changes(&mut view, &mounts), ["Unmounted /srv/www"]);
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
    mounts.push(mount(3, 2, "tmpfs", "/srv/www"));
    assert_eq!(changes(&mut view, &mounts), ["Mounted /srv/www"]);
    // Also while it is hidden.
    mounts.pop();
    mounts[1].dir = "//deleted".into();
    assert_eq!(changes(&mut view, &mounts), ["Unmounted /srv/www"]);
    mounts[1] = bind(4, "/c", "/srv");
    assert_eq!(changes(&mut view, &mounts), ["Gone /srv/www"]);
}

#[test]
fn what_is_mounted_below_a_root_is_renamed_out_of_it_and_back() {
    let mut mounts = vec![mount(1, 0, "ext4", "/"), bind(2, "/srv/in", "/srv/here")];
    let mut view = view(&mounts, &["/srv"]);
    mounts[1].dir = "/out".into();
    assert_eq!(changes(&mut view, &mounts), ["Mounted /srv/here"]);
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
    mounts[1].dir = "/srv/back".into();
    assert_eq!(changes(&mut view, &mounts), ["Unmounted /srv/here"]);
}

#[test]
fn mounts_that_are_followed_are_roots() {
    let mut mounts = vec![mount(1, 0, "ext4", "/"), mount(2, 1, "fuse.x", "/srv/fuse")];
    let mut view = following(&mounts, &["/srv"], &[]);
    mounts.push(mount(3, 1, "xfs", "/srv/a"));
    mounts.push(mount(4, 3, "tmpfs", "/srv/a/b"));
    assert_eq!(changes(&mut view, &mounts), ["Follow 1", "Follow 2"]);
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
    // What is mounted over one hides it, and what goes is no more.
    mounts.push(mount(5, 4, "nfs", "/srv/a/b"));
    assert_eq!(changes(&mut view, &mounts), ["Mounted /srv/a/b"]);
    mounts.truncate(3);
    assert_eq!(changes(&mut view, &mounts), ["Unfollow 2"]);
    mounts[2].point = "/srv/moved".into();
    assert_eq!(changes(&mut view, &mounts), ["Unfollow 1", "Follow 1"]);
    // What was hidden and went hides nothing.
    mounts.push(mount(6, 1, "nfs", "/srv/a/b"));
    assert_eq!(changes(&mut view, &mounts), ["Mounted /srv/a/b"]);
}

#[test]
fn what_lies_behind_one_that_may_not_answer_is_not_followed() {
    let mut mounts = vec![mount(1, 0, "ext4", "/"), mount(2, 1, "nfs4", "/srv/net")];
    let mut above = following(&mounts, &["/srv"], &[]);
    let mut named = following(&mounts, &["/srv/net"], &[]);
    mounts.push(mount(3, 2, "tmpfs", "/srv/net/tmp"));
    assert_eq!(changes(&mut above, &mounts), ["Mounted /srv/net/tmp"]);
    assert_eq!(changes(&mut named, &mounts), ["Follow 1"]);
}

#[test]
fn an_overlay_that_comes_later_is_reported_and_not_followed() {
    let mut mounts = vec![mount(1, 0, "ext4", "/")];
    let mut view = following(&mounts, &["/srv"], &[]);
    mounts.push(mount(2, 1, "overlay", "/srv/merged"));
    assert_eq!(changes(&mut view, &mounts), ["Mounted /srv/merged"]);
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
}

#[test]
fn in_a_chroot_the_mount_of_the_root_directory_may_be_unlisted() {
    let mut mounts = with_root(vec![mount(2, 1, "proc", "/proc")]);
    let mut view = view(&mounts, &["/srv", "/srv/www"]);
    assert_eq!(view.roots.len(), 2);
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
    mounts.push(mount(3, 1, "tmpfs", "/srv/www"));
    mounts.push(mount(4, 1, "xfs", "/srv/a"));
    assert_eq!(changes(&mut view, &mounts), ["Mounted /srv/www", "Mounted /srv/a"]);
    mounts.truncate(2);
    assert_eq!(changes(&mut view, &mounts), ["Unmounted /srv/www", "Unmounted /srv/a"]);
}

#[test]
fn a_mount_that_cannot_be_watched_is_reported_and_not_followed() {
    let mut mounts = vec![mount(1, 0, "ext4", "/")];
    let mut view = following(&mounts, &["/srv"], &["/srv/file"]);
    mounts.push(mount(2, 1, "xfs", "/srv/file"));
    mounts.push(mount(3, 1, "tmpfs", "/srv/dir"));
    assert_eq!(changes(&mut view, &mounts), ["Follow 1", "Mounted /srv/file"]);
    assert_eq!(changes(&mut view, &mounts), [""; 0]);
}

#[test]
fn there_is_room_for_so_many_filesystems_and_no_more() {
    let mut mounts = vec![mount(1, 0, "ext4", "/")];
    let mut view = following(&mounts, &["/srv"], &[]);
    for id in 0..FILESYSTEMS_MAX as u32 + 2 {
        mounts.push(mount(id + 2, 1, &format!("x{id}"), &format!("/srv/{id:03}")));
    }
    let changes = changes(&mut view, &mounts);
    let count = |of: &str| changes.iter().filter(|line| line.starts_with(of)).count();
    assert_eq!((count("Follow"), count("Mounted")), (FILESYSTEMS_MAX, 2));
}
