# shellcheck shell=bash disable=SC2154
# Emulated nodes on this machine, for launch/mini-slurm and launch/two-nodes, which source it and set:
#   nodes_prefix   node k is the network namespace <prefix>k; its eth0 is a cable to port <prefix>vk of bridge <prefix>-br
#   nodes_switch   the network namespace that the bridge is in, or nothing: the machine's own
#   nodes_net      the first three bytes of their addresses: node k has .(k+1)
#   nodes_host     host name of node k: <nodes_host>k
#   nodes_dir      a folder for what they need
# Every node has its own hostname, network stack, /dev/shm and System V IPC, so that MPI sees several machines. They share
# the processor, the memory and the other folders.

PATH=$PATH:/usr/sbin:/sbin

fail() { echo "launch/${0##*/}: $*" >&2; exit 2; }

nodes_check() {  # $1 = option of launch/setup that installs the tools, ... = tools
  [ "$(id -u)" -eq 0 ] || fail "needs root"
  local tool
  for tool in ip nsenter unshare "${@:2}"; do
    [ -n "$(type -P "$tool")" ] || fail "'$tool' is missing; launch/setup $1 installs it"
  done
  ip netns add "$nodes_prefix-check" 2>/dev/null || fail "network namespaces are not permitted here"
  local kind missing=""
  for kind in bridge veth; do
    ip -n "$nodes_prefix-check" link add "$kind-check" type "$kind" 2>/dev/null || missing=$kind
  done
  ip netns del "$nodes_prefix-check"
  [ -z "$missing" ] || fail "this kernel makes no links of type $missing"
  unshare --uts --ipc --mount true 2>/dev/null || fail "UTS, IPC and mount namespaces are not permitted here"
}

on_switch() {  # arguments of ip
  if [ -n "$nodes_switch" ]; then ip -n "$nodes_switch" "$@"; else ip "$@"; fi
}

nodes_connect() {  # $1 = nodes
  local k
  [ -z "$nodes_switch" ] || ip netns add "$nodes_switch"
  on_switch link add "$nodes_prefix-br" type bridge
  on_switch link set "$nodes_prefix-br" up
  echo "127.0.0.1 localhost" >"$nodes_dir/hosts"
  for ((k = 0; k < $1; ++k)); do
    echo "$nodes_net.$((k + 1)) $nodes_host$k" >>"$nodes_dir/hosts"
    ip netns add "$nodes_prefix$k"
    on_switch link add "${nodes_prefix}v$k" type veth peer name eth0 netns "$nodes_prefix$k"
    on_switch link set "${nodes_prefix}v$k" master "$nodes_prefix-br" up
    ip -n "$nodes_prefix$k" addr add "$nodes_net.$((k + 1))/24" dev eth0
    ip -n "$nodes_prefix$k" link set eth0 up
    ip -n "$nodes_prefix$k" link set lo up
  done
}

nodes_start() {  # $1 = node, ... = the program that keeps its namespaces
  # A slave of this machine's mounts: what is unmounted here is not kept alive there.
  # shellcheck disable=SC2016  # the inner shell expands them
  nsenter --net="/run/netns/$nodes_prefix$1" unshare --uts --ipc --mount bash -euc '
    hostname "$0"; mount --make-rslave /
    mount -t tmpfs -o size=4g,mode=1777 tmpfs /dev/shm
    mount --bind "$1/hosts" /etc/hosts
    exec "${@:2}"' "$nodes_host$1" "$nodes_dir" "${@:2}"
}

nodes_kill() {  # $1 = node: all its processes, and those that they were just starting
  local pids i
  for ((i = 0; i < 100; ++i)); do
    pids=$(ip netns pids "$nodes_prefix$1" 2>/dev/null) || return 0
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086
    kill -9 $pids 2>/dev/null || true
    sleep 0.02
  done
  echo "launch/${0##*/}: processes of node $1 do not end: ${pids//$'\n'/ }" >&2
}

nodes_remove() {
  local k nodes
  nodes=$(ip netns list | sed -n "s/^$nodes_prefix\([0-9][0-9]*\)\( .*\)\{0,1\}$/\1/p")
  for k in $nodes; do nodes_kill "$k"; done
  for k in $nodes; do
    on_switch link del "${nodes_prefix}v$k" 2>/dev/null || true
    ip netns del "$nodes_prefix$k" || true
  done
  on_switch link del "$nodes_prefix-br" 2>/dev/null || true
  [ -z "$nodes_switch" ] || ip netns del "$nodes_switch" 2>/dev/null || true
}
