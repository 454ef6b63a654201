#!/bin/sh
# A real build of a Debian source package, each step by a user of its own:
#     build.sh SOURCE JOBS
# in an empty directory. SOURCE holds what `apt-get source --download-only` left.
set -eu
source=$1 jobs=$2
here=$PWD
mkdir tmp
chmod 1777 tmp
export TMPDIR="$here/tmp" HOME="$here/tmp" LC_ALL=C

as() {
    user=$1
    shift
    chown -R "$user:$user" "$here/package"
    (cd package && exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@")
}

dpkg-source --extract "$source"/*.dsc package
as 60101 ./configure --prefix=/usr
as 60102 make -j"$jobs"
as 60103 make -j"$jobs" -k check || true   # whether its tests pass is no concern of ours
as 0 make install DESTDIR="$here/installed"
as 60102 make distclean
rm -rf package installed
