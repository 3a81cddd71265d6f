#!/usr/bin/env bash
# Three Docker Engines on this machine, one skep manager in front of them, and
# the stock docker command line. Run it as `make demo`; `make demo-down` removes
# all that it made.
set -euo pipefail

cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
SKEP=$PWD/bin/skep
LAB="$SKEP lab --name demo"
RUN=/run/skep-demo
SOCKET=$RUN/skep.sock

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() { printf '\033[36m$ %s\033[0m\n' "$*"; "$@"; }

# The manager's pid, if it is still the process that was started.
manager() {
	local pid start
	read -r pid start 2>/dev/null <"$RUN/pid" || return 1
	[ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)" = "$start" ] && echo "$pid"
}

stop_manager() {
	local pid
	if pid=$(manager); then
		kill "$pid"
		while [ -d "/proc/$pid" ]; do sleep 0.1; done
	fi
}

down() {
	stop_manager
	$LAB down
	rm -rf "$RUN"
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

up() {
	if [ "$(id -u)" != 0 ]; then
		echo "The demo starts Docker Engines and needs root: sudo make demo" >&2
		exit 1
	fi
	mkdir -p "$RUN"
	export DOCKER_HOST=unix://$SOCKET DOCKER_BUILDKIT=0 DOCKER_CLI_HINTS=false
	unset DOCKER_CONTEXT

	say "Three Docker Engines, each in a small machine of its own"
	run $LAB up -n 3 --label n1:rack=a --label n2:rack=b --label n3:rack=b

	say "One skep manager makes them one"
	stop_manager
	# On the lab's LAN; its socket is reachable from here.
	setsid $LAB exec hub -- "$SKEP" manage -H "unix://$SOCKET" --state-dir "$RUN/state" 'nodes://10.99.0.[11:13]:2375' \
		</dev/null >"$RUN/log" 2>&1 &
	local pid=$!
	echo "$pid $(cut -d' ' -f22 "/proc/$pid/stat")" >"$RUN/pid"
	echo "skep manage -H unix://$SOCKET 'nodes://10.99.0.[11:13]:2375'"
	retry 30 shows Status Healthy 3 || { cat "$RUN/log" >&2; exit 1; }
	run docker version --format 'client {{.Client.Version}}, server {{.Server.Version}}'

	say "An image, built on one engine and then given to all: no registry is needed"
	CGO_ENABLED=0 go build -o demo/hello/hello ./demo/hello
	# The command line advises another builder on standard error.
	run docker build -q -t hello:1 demo/hello 2>"$RUN/build" || { cat "$RUN/build" >&2; exit 1; }
	printf '\033[36m$ docker save hello:1 | docker load\033[0m\n'
	docker save hello:1 | docker load

	say "Containers: spread, on a rack, beside another, and one in the foreground"
	docker rm -f web1 web2 web3 front side >/dev/null 2>&1 || true
	for i in 1 2 3; do run docker run -d --name "web$i" hello:1 serve; done
	run docker run -d --name front -e constraint:rack==a -p 8080:80 hello:1 serve
	run docker run -d --name side -e affinity:container==front hello:1 serve
	run docker run --rm hello:1 say
	run docker ps

	say "Commands find the engine by themselves"
	run docker logs web2
	run docker exec web3 /hello say
	run docker inspect --format '{{.Name}} is on {{.Node.Name}}' web1 web2 web3 front side
	run docker events --since 1h --until 0s --filter event=start --filter container=front \
		--format '{{.Actor.Attributes.name}} {{.Action}} on {{index .Actor.Attributes "node.name"}}'

	say "The power of one engine fails"
	run $LAB crash n3
	retry 60 shows Status Unhealthy 1
	run docker info --format '{{range .SystemStatus}}{{println (index . 0) (index . 1)}}{{end}}' | grep -E '^ n|Status|Error'
	run docker ps

	say "And comes back, with its containers"
	run $LAB start n3
	retry 60 shows Status Healthy 3
	run docker ps -a

	say "It is yours. Copy this line, and use docker as always:"
	echo "export DOCKER_HOST=$DOCKER_HOST"
	echo
	echo "make demo-down removes all of it."
}

case ${1:-} in
up) up ;;
down) down ;;
*)
	echo "usage: demo.sh up|down" >&2
	exit 2
	;;
esac
