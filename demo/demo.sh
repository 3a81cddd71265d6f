#!/usr/bin/env bash
# Docker Engines on this machine, one skep manager in front of them, and the
# stock docker command line. Run it as `make demo`; `make demo-down` removes all
# that it made. Where no real engine can run it says why, and shows simulated
# ones; `make demo DEMO=simulated` does so anywhere, DEMO=real never.
set -euo pipefail

cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
SKEP=$PWD/bin/skep
# Two demos of different names know nothing of each other.
NAME=${SKEP_DEMO_NAME:-demo}
if ! [[ $NAME =~ ^[a-z][a-z0-9]{0,7}$ ]]; then
	echo "SKEP_DEMO_NAME=$NAME: a name is a small letter, and up to 7 more or digits" >&2
	exit 2
fi
LAB=("$SKEP" lab --name "$NAME")
SIMULATED=50
# Short: a unix socket's path has a hundred bytes.
if [ "$(id -u)" = 0 ]; then
	RUN=/run/skep-$NAME
elif [ -d "${XDG_RUNTIME_DIR:-}" ] && [ -w "$XDG_RUNTIME_DIR" ]; then
	RUN=$XDG_RUNTIME_DIR/skep-$NAME
else
	RUN=/tmp/skep-$NAME-$(id -u)
fi
SOCKET=$RUN/skep.sock

. demo/tour.sh

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() { printf '\033[36m$ %s\033[0m\n' "$*"; "$@"; }
# refused COMMAND: shows what it says when it is refused, as it must be.
refused() { if run "$@" 2>&1; then return 1; fi; }
# status PATTERN: of docker info, what it says of the engines.
status() {
	printf '\033[36m$ docker info\033[0m\n'
	docker info --format '{{range .SystemStatus}}{{println (index . 0) (index . 1)}}{{end}}' | grep "$@"
}

# The manager's pid, if it is still the process that was started. Where nobody
# reaps the dead it stays as one.
manager() {
	local pid start stat
	read -r pid start 2>/dev/null <"$RUN/pid" || return 1
	read -r -a stat 2>/dev/null <"/proc/$pid/stat" || return 1
	[ "${stat[21]}" = "$start" ] && [ "${stat[2]}" != Z ] && echo "$pid"
}
no_manager() { ! manager >/dev/null; }

# Whatever manager of the demo runs, of real engines or of simulated ones.
stop_manager() {
	local pid
	if pid=$(manager); then
		kill "$pid"
		retry 20 no_manager || kill -KILL "$pid"
	fi
	bin/engines stop "$RUN"
	rm -f "$RUN/pid" "$SOCKET" # of one that was killed
}

# /tmp is everybody's: a directory there is used only if it is the caller's own.
make_run() {
	[ -d "$RUN" ] || mkdir -m 700 "$RUN"
	if [ -L "$RUN" ] || [ ! -O "$RUN" ]; then
		echo "$RUN is not yours: remove it, or set XDG_RUNTIME_DIR to a directory of your own" >&2
		exit 1
	fi
}

down() {
	if [ "$(id -u)" = 0 ] && [ "$(uname)" = Linux ]; then
		"${LAB[@]}" down
	fi
	if [ -d "$RUN" ]; then
		make_run
		stop_manager
		rm -rf "$RUN"
	fi
}

# retry SECONDS COMMAND: until it succeeds.
retry() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}
shows() { docker info 2>/dev/null | grep -c "$1: $2" | grep -qx "$3"; }

# Three real engines. It fails if they do not come up.
real_engines() {
	say "Three Docker Engines, each in a small machine of its own"
	run "${LAB[@]}" up -n 3 --label n1:rack=a --label n2:rack=b --label n3:rack=b
}

start_real_manager() {
	say "One skep manager makes them one"
	# On the lab's LAN; its socket is reachable from here.
	setsid "${LAB[@]}" exec hub -- "$SKEP" manage -H "unix://$SOCKET" --state-dir "$RUN/state" 'nodes://10.99.0.[11:13]:2375' \
		</dev/null >"$RUN/log" 2>&1 &
	local pid=$!
	echo "$pid $(cut -d' ' -f22 "/proc/$pid/stat")" >"$RUN/pid"
	echo "skep manage -H unix://$SOCKET 'nodes://10.99.0.[11:13]:2375'"
	retry 30 shows Status Healthy 3 || { cat "$RUN/log" >&2; exit 1; }
}

start_simulated() {
	say "$SIMULATED simulated engines, and one skep manager that makes them one"
	nohup bin/engines serve "$RUN" $SIMULATED "$SKEP" </dev/null >"$RUN/log" 2>&1 &
	echo "skep manage -H unix://$SOCKET file://$RUN/list"
	if ! retry 30 test -S "$SOCKET"; then
		cat "$RUN/log" >&2
		exit 1
	fi
}

simulated() {
	say "These engines are simulated, because $1"
	echo "They speak Docker's API and remember what they are told, but run no programs:"
	echo "containers only seem to run. skep and the docker command line are real."
	[ "$1" = "you asked for it" ] || echo "To see real engines: sudo make demo, on Linux with Docker Engine installed."
	start_simulated
	if ! command -v docker >/dev/null; then
		without_docker
		return
	fi
	retry 30 shows Status Healthy $SIMULATED || { cat "$RUN/log" >&2; exit 1; }
	tour_simulated
	yours
}

# The engines and skep run; only the stock command line is missing.
without_docker() {
	say "The docker command line is missing here"
	echo "Install it (sudo apt-get install docker-cli, on older systems docker.io), or without"
	echo "root: put docker/docker of https://download.docker.com/linux/static/stable/$(uname -m)/"
	echo "into a directory of your PATH. Then run make demo again. Until then:"
	echo
	echo "curl --unix-socket $SOCKET http://skep/info"
	echo
	echo "make demo-down removes all of it."
}

yours() {
	say "It is yours. Copy this line, and use docker as always:"
	echo "export DOCKER_HOST=$DOCKER_HOST"
	echo
	echo "make demo-down removes all of it."
}

up() {
	local mode=$1 why
	export DOCKER_HOST=unix://$SOCKET DOCKER_BUILDKIT=0 DOCKER_CLI_HINTS=false
	unset DOCKER_CONTEXT
	make_run
	stop_manager
	if [ "$mode" = simulated ]; then
		simulated "you asked for it"
		return
	fi
	# It says why if it cannot, and then so does the check.
	[ "$(id -u)" != 0 ] || scripts/setup.sh || true
	if ! why=$("$SKEP" lab check 2>&1); then
		why=${why#skep: }
	elif real_engines; then
		start_real_manager
		tour_real
		yours
		return
	else
		why="real ones did not come up; the reason stands above"
	fi
	if [ "$mode" = real ]; then
		echo "No real Docker Engine can run here: $why" >&2
		exit 1
	fi
	simulated "$why"
}

case "${1:-} ${2:-auto}" in
"up auto" | "up real" | "up simulated") up "${2:-auto}" ;;
"down auto") down ;;
*)
	echo "usage: demo.sh up [auto|real|simulated] | down" >&2
	exit 2
	;;
esac
