# fetch.sh PACKAGE DIR: a Debian source package into DIR/configured. apt's own state stays untouched.
package=$1
cd "$2"
. /etc/os-release
echo "deb-src http://deb.debian.org/debian $VERSION_CODENAME main" >sources.list
mkdir -p lists/partial
chmod 755 . lists lists/partial
quiet="-qq -o Dir::Etc::sourcelist=$PWD/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$PWD/lists -o APT::Sandbox::User=root"
# shellcheck disable=SC2086 # words
apt-get $quiet update >&2
# shellcheck disable=SC2086
apt-get $quiet source --download-only "$package" >&2
dpkg-source --extract "$package"_*.dsc configured >&2
cd configured
./configure >&2
touch ready
