#!/bin/sh
# Installs what skep's demo needs and this machine lacks: a Docker Engine and
# its command line, from the distribution. With the argument "tests" also etcd
# and ZooKeeper, which the tests start by themselves, and systemd's tools. An
# engine that is there is neither touched nor restarted.
set -eu

need=""
PATH=$PATH:/usr/sbin:/sbin
{ command -v dockerd && command -v docker; } >/dev/null || need=" docker.io"
command -v iptables >/dev/null || need="$need iptables"
if [ "${1:-}" = tests ]; then
	command -v etcd >/dev/null || need="$need etcd-server"
	[ -e /usr/share/java/zookeeper.jar ] || need="$need zookeeper"
	command -v systemd-socket-activate >/dev/null || need="$need systemd"
fi
[ -n "$need" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "skep: please install$need; only Debian and Ubuntu can be set up by this script" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "skep: installing$need needs root: run this as root, or install it yourself: sudo apt-get install$need" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Newer Debian has the command line in a package of its own. Which it is, is
# known only now.
if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then
	! command -v dockerd >/dev/null || need=${need#" docker.io"}
	need="$need docker-cli"
fi
case $need in
# The stores are for tests alone: they are not to run as services.
*etcd-server* | *zookeeper*) export RUNLEVEL=1 ;;
esac
echo "skep: installing$need"
# shellcheck disable=SC2086 # a list of packages
apt-get install -y -qq --no-install-recommends $need >/dev/null
case $need in
# systemd knows no runlevel.
*etcd-server*) [ ! -d /run/systemd/system ] || systemctl --quiet disable --now etcd.service ;;
esac
