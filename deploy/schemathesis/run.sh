#!/usr/bin/env bash
# Lets schemathesis look for a minute for what the API at an address does otherwise than openapi.yaml says.
# usage: run.sh http://127.0.0.1:8080 [SECONDS [SEED]]. The seed is always the same unless another is given. Exits with 77
# where it can't be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
version=4.32.5
url=${1:?address of the API} seconds=${2:-60} seed=${3:-1}

if ! command -v python3 >/dev/null; then
  echo "no python3 here: install Python 3.10 or newer"
  exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
if ! { python3 -m venv "$dir/venv" && "$dir/venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"; } >"$dir/log" 2>&1; then
  tail -n 3 "$dir/log"
  echo "schemathesis $version can't be installed here"
  exit 77
fi
cp schemathesis.toml hooks.py "$dir" # it keeps a cache beside its settings
cd "$dir"
"$dir/venv/bin/schemathesis" --config-file schemathesis.toml run "$url/openapi.yaml" --checks all --exclude-path-regex '/events$' \
  --max-time "$seconds" --seed "$seed" --generation-database none --no-color
