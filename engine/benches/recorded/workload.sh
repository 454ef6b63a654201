# What is recorded: sources are unpacked (from descriptor 3), made, and removed; processes become others
# between two changes; then files come and go in many directories.
set -e
export LC_ALL=C TMPDIR="$PWD"
mkdir build
tar -C build -xf - <&3
make -s -j2 -C build
sleep 0.01
rm -r build
sleep 0.01
for number in 1 2 3 4 5 6 7 8; do
  sh -c ': >of-sh; exec mv of-sh of-mv'
  sh -c ': >of-both; exec rm of-both of-mv'
done
mkdir churn
python3 -B "$1" churn
sleep 0.01
rm -r churn
