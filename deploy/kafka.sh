#!/usr/bin/env bash
# Apache Kafka on this machine without containers, for tests and benchmarks: one node, KRaft, loopback, free ports, a directory of
# its own. Needs Java 17 or newer, and Maven for the first run.
#
#   deploy/kafka.sh run -- make integration   starts Kafka, runs the command, stops Kafka and removes its directory
#   deploy/kafka.sh start                     starts Kafka and prints its address; it stays until `stop`
#   deploy/kafka.sh stop                      stops what `start` started and removes its directory
#   deploy/kafka.sh start DIR                 the same in a directory that stays; again there, it starts with the same address and records
#   deploy/kafka.sh stop DIR                  stops that one; the directory stays
#   deploy/kafka.sh fetch                     only gets the jars
#
# `run` sets BAEDAL_TEST_KAFKA and BAEDAL_BROKERS to the address. The jars lie in $BAEDAL_CACHE (default ~/.cache/baedal), data and
# logs under $TMPDIR (default /tmp). KAFKA_HEAP sets the heap (default 1g). KAFKA_PROXY=HOST:PORT is advertised to clients that come
# through a proxy, which must pass them on to the address in DIR/upstream.
set -euo pipefail

version=4.3.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${BAEDAL_CACHE:-$HOME/.cache/baedal}
libs=$cache/kafka-$version
state=$cache/kafka-started # the directory of the Kafka that `start` started
seconds_to_start=60

die() {
  printf 'kafka.sh: %s\n' "$*" >&2
  exit 1
}

fetch() {
  [[ -e $libs/kafka_2.13-$version.jar ]] && return
  command -v mvn >/dev/null || die "no mvn: install Maven (Debian: apt-get install maven), it gets Kafka's jars once"
  mkdir -p "$cache"
  local part
  part=$(mktemp -d "$cache/part.XXXXXX")
  echo "kafka.sh: getting the jars of Apache Kafka $version into $libs" >&2
  if ! mvn --batch-mode --quiet -Dstyle.color=never -f "$here/kafka/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$part" >&2; then
    rm -rf "$part"
    die "Maven could not get the jars; its words are above"
  fi
  # Whoever is first wins: mv into an existing directory would nest, -T refuses.
  mv -T "$part" "$libs" 2>/dev/null || rm -rf "$part"
}

# begin DIR starts Kafka in the background, with all its files in DIR, and sets pid and address once it accepts connections.
begin() {
  local dir=$1 tries
  command -v java >/dev/null || die "no java: install Java 17 or newer (Debian: apt-get install default-jre-headless)"
  fetch
  for tries in 1 2 3; do # a free port may be taken before Kafka has it
    configure "$dir"
    launch "$dir" && return
    grep -q 'Address already in use' "$dir/log" || break
  done
  tail -n 30 "$dir/log" >&2
  die "Kafka did not start; the end of its log is above"
}

# free_ports N prints N different loopback ports where nobody listens, from below those that the system gives to clients.
free_ports() {
  local port
  for port in $(shuf -i 15000-30000 -n 200); do
    (($1 > 0)) || return 0
    if ! (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      set -- $(($1 - 1))
    fi
  done
}

configure() {
  local dir=$1 ports
  mapfile -t ports < <(free_ports 3)
  [[ ${#ports[@]} == 3 ]] || die "no free ports on 127.0.0.1"
  address=127.0.0.1:${ports[0]}
  rm -rf "$dir/data"
  echo "127.0.0.1:${ports[2]}" >"$dir/upstream"
  sed -e "s|@UPSTREAM@|127.0.0.1:${ports[2]}|" -e "s|@PROXY@|${KAFKA_PROXY:-127.0.0.1:${ports[2]}}|" -e "s|@BROKER@|$address|g" -e "s|@CONTROLLER@|127.0.0.1:${ports[1]}|g" -e "s|@DATA@|$dir/data|g" \
    "$here/kafka/server.properties" >"$dir/server.properties"
  java_tool "$dir" kafka.tools.StorageTool random-uuid >"$dir/uuid"
  java_tool "$dir" kafka.tools.StorageTool format --standalone -t "$(tail -n 1 "$dir/uuid")" -c "$dir/server.properties" >>"$dir/log"
}

java_tool() {
  local dir=$1
  shift
  java -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*" "$@" 2>>"$dir/log" || {
    cat "$dir/log" >&2
    die "$1 failed; its words are above"
  }
}

launch() {
  local dir=$1 deadline=$((SECONDS + seconds_to_start))
  # A session of its own: Ctrl-C at a terminal ends the command that `run` runs, and then we end Kafka.
  setsid java "-Xms${KAFKA_HEAP:-1g}" "-Xmx${KAFKA_HEAP:-1g}" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -Djava.awt.headless=true \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true \
    -cp "$libs/*" kafka.Kafka "$dir/server.properties" >>"$dir/log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$dir/pid"
  echo "$address" >"$dir/address"
  until (: <>"/dev/tcp/${address/://}") 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || return 1 # not alive: it may not be java yet
    ((SECONDS < deadline)) || { end "$dir"; die "Kafka did not listen at $address within ${seconds_to_start}s: see $dir/log"; }
    sleep 0.1
  done
}

# alive PID: is it still the Kafka that we started? A number may have gone to another process since.
alive() {
  kill -0 "$1" 2>/dev/null && tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q ' kafka\.Kafka '
}

# end DIR stops the Kafka of DIR, by force after 20 s, and removes DIR.
end() {
  halt "$1"
  rm -rf "$1"
}

# halt DIR stops it and keeps DIR.
halt() {
  local dir=$1 pid deadline=$((SECONDS + 20))
  if pid=$(cat "$dir/pid" 2>/dev/null) && alive "$pid"; then
    kill "$pid" 2>/dev/null || true
    while alive "$pid"; do
      ((SECONDS < deadline)) || kill -9 "$pid" 2>/dev/null || true
      sleep 0.1
    done
  fi
}

new_dir() { mktemp -d "${TMPDIR:-/tmp}/baedal-kafka.XXXXXX"; }

case ${1:-} in
run)
  shift
  [[ ${1:-} == -- ]] && shift
  [[ $# -gt 0 ]] || die "run what? deploy/kafka.sh run -- COMMAND"
  dir=$(new_dir)
  trap 'end "$dir"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  begin "$dir"
  echo "kafka.sh: Apache Kafka $version at $address" >&2
  BAEDAL_TEST_KAFKA=$address BAEDAL_BROKERS=$address "$@"
  ;;
start)
  if [[ $# == 2 ]]; then
    mkdir -p "$2"
    if [[ -e $2/server.properties ]]; then
      address=$(cat "$2/address")
      for _ in $(seq 50); do # a killed one may still be dying, and listening
        alive "$(cat "$2/pid")" || break
        sleep 0.1
      done
      ! alive "$(cat "$2/pid")" || die "already started at $address"
      launch "$2" || die "Kafka did not start again: see $2/log"
    else
      begin "$2"
    fi
    echo "$address"
    exit
  fi
  if dir=$(cat "$state" 2>/dev/null) && [[ -e $dir/pid ]] && alive "$(cat "$dir/pid")"; then
    die "already started at $(cat "$dir/address"): use it, or deploy/kafka.sh stop"
  fi
  dir=$(new_dir)
  trap 'end "$dir"' EXIT
  begin "$dir"
  trap - EXIT
  echo "$dir" >"$state"
  echo "$address"
  ;;
stop)
  if [[ $# == 2 ]]; then
    halt "$2"
    exit
  fi
  dir=$(cat "$state" 2>/dev/null) || die "nothing to stop: deploy/kafka.sh start was not used"
  end "$dir"
  rm -f "$state"
  ;;
fetch)
  fetch
  ;;
*)
  sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  [[ ${1:-} == help ]] || exit 2
  ;;
esac
