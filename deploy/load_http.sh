#!/usr/bin/env bash
# The same load by streams and over HTTP in turn, at one engine: lifecycles a second of both. Any broker in BAEDAL_TEST_KAFKA, else
# the embedded one. usage: load_http.sh BIN [ORDERS [ROUNDS [ORDERS UNDER WAY]]]
set -euo pipefail
bin=${1:?the program} orders=${2:-3000} rounds=${3:-3} flight=${4:-256}
dir=$(mktemp -d)
flags=(up --data-dir "$dir/data" --http 127.0.0.1:0 --prefix "load-http-$$.")
if [[ -n ${BAEDAL_TEST_KAFKA-} ]]; then flags+=(--brokers "$BAEDAL_TEST_KAFKA"); else flags+=(--kafka-listen 127.0.0.1:0); fi
"$bin" "${flags[@]}" >"$dir/out" 2>"$dir/err" &
up=$!
trap 'kill $up && wait $up || cat "$dir/err"; rm -rf "$dir"' EXIT
for _ in $(seq 300); do
  grep -q '^Baedal is up' "$dir/out" && break
  kill -0 $up
  sleep 0.1
done
read -r api kafka < <(sed -n 's/^Baedal is up.* HTTP \([^ ]*\).* Kafka \([^ ]*\).*/\1 \2/p' "$dir/out")

load() {
  "$bin" load --orders "$orders" --in-flight "$flight" --cancel-rate 0 --manual-share 0 --format json "$@" 2>/dev/null |
    sed -n 's/.*"lifecyclesPerSecond": *\([0-9]*\).*/\1/p'
}
load --brokers "$kafka" --prefix "load-http-$$." --orders 500 >/dev/null # a cold engine is not what is measured
for _ in $(seq "$rounds"); do
  streams=$(load --brokers "$kafka" --prefix "load-http-$$.") http=$(load --over-http "$api")
  echo "lifecycles/s, $orders orders, $flight under way: $streams by streams, $http over HTTP ($((100 * http / streams)) %)"
done
