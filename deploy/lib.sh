# What deploy/up and deploy/down share. Sourced with $root set.
bin=$root/build/release/bin

# Beside the checkout's owner, not in it: a state directory outlives a build directory. As root it is
# one that the user postgres may enter.
if [ -n "${STEELYARD_STATE_DIR:-}" ]; then
    state=$STEELYARD_STATE_DIR
elif [ "$(id -u)" = 0 ]; then
    state=/var/lib/steelyard
else
    state=${XDG_STATE_HOME:-$HOME/.local/state}/steelyard
fi
export STEELYARD_STATE_DIR=$state

say() { printf '\n== %s\n' "$*"; }
die() {
    echo "steelyard: $*" >&2
    exit 1
}

# running NAME: is the process of NAME.pid alive and still the program it was?
running() {
    local pid
    pid=$(cat "$state/$1.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$(printf %.15s "$2")" ]
}

# stop NAME PROGRAM: SIGTERM, then waits until it is gone.
stop() {
    local pid
    running "$1" "$2" || {
        rm -f "$state/$1.pid"
        return 0
    }
    pid=$(cat "$state/$1.pid")
    kill "$pid"
    tail --pid="$pid" -f /dev/null
    rm -f "$state/$1.pid"
}

# address FIELD [DIR]: out of addresses.json.
address() {
    sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$state/${2:-.}/addresses.json" 2>/dev/null | head -n 1
}

# wait_for SECONDS WHAT COMMAND...: polls until the command succeeds.
wait_for() {
    local seconds=$1 what=$2 tries
    shift 2
    for ((tries = 0; tries < seconds * 5; tries++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.2
    done
    die "waited $seconds s for $what; the log is $state/steelyard.log"
}
