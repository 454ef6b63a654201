# What is recorded: sources are unpacked (from descriptor 3), made, and removed; then files come and go
# in many directories.
set -e
export LC_ALL=C TMPDIR="$PWD"
mkdir build
tar -C build -xf - <&3
make -s -j2 -C build
sleep 0.01
rm -r build
sleep 0.01
mkdir churn
python3 -B "$1" churn
sleep 0.01
rm -r churn
