#!/usr/bin/env bash
# Machines of our own, in network namespaces, to try several machines on one. As root, with iproute2 and Open MPI.
#   cluster-hosts.sh up N               alpha, beta, gamma, ... on one bridge
#   cluster-hosts.sh wire HOST [QDISC]  the host's wire from now on, both ways, as tc has it: "netem delay 5ms loss 1%" where
#                                       the kernel has that, "tbf rate 100mbit burst 64kb latency 500ms"
#   cluster-hosts.sh cut HOST | mend HOST
#   cluster-hosts.sh mpirun N ARGS...   mpirun's own, from alpha, a process on each of the first N
#   cluster-hosts.sh down
set -euo pipefail
names=(alpha beta gamma delta epsilon zeta eta theta)
space() { echo "lora-$1"; }

case ${1:?what} in
  up)
    ip link add lora-bridge type bridge
    ip link set lora-bridge up
    for ((i = 0; i < $2; ++i)); do
      host=${names[i]}
      ip netns add "$(space "$host")"
      ip link add "lora-$host" type veth peer name eth0 netns "$(space "$host")"
      ip link set "lora-$host" master lora-bridge up
      ip -n "$(space "$host")" link set lo up
      ip -n "$(space "$host")" address add "10.87.0.$((i + 1))/24" dev eth0
      ip -n "$(space "$host")" link set eth0 up
    done ;;
  wire)
    ip netns exec "$(space "$2")" tc qdisc del dev eth0 root 2>/dev/null || true
    tc qdisc del dev "lora-$2" root 2>/dev/null || true
    if (($# > 2)); then  # both ways
      ip netns exec "$(space "$2")" tc qdisc add dev eth0 root "${@:3}"
      tc qdisc add dev "lora-$2" root "${@:3}"
    fi ;;
  cut) ip link set "lora-$2" down ;;
  mend) ip link set "lora-$2" up ;;
  mpirun)
    n=$2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for ((i = 0; i < n; ++i)); do echo "10.87.0.$((i + 1)) slots=1"; done >"$work/hosts"
    # What ssh does for real ones: HOST COMMAND..., in a shell there.
    cat >"$work/agent" <<'AGENT'
#!/usr/bin/env bash
names=(alpha beta gamma delta epsilon zeta eta theta)
host=${names[${1##*.} - 1]}
exec ip netns exec "lora-$host" unshare --uts sh -c "hostname $host; ${*:2}" </dev/null
AGENT
    chmod +x "$work/agent"
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    ip netns exec "$(space alpha)" unshare --uts sh -c 'hostname alpha; exec "$@"' sh \
      mpirun --hostfile "$work/hosts" -n "$n" --bind-to none --mca plm_rsh_agent "$work/agent" \
      --mca btl tcp,self --mca btl_tcp_if_include 10.87.0.0/24 --mca oob_tcp_if_include 10.87.0.0/24 "${@:3}" ;;
  down)
    for space in $(ip netns list | awk '/^lora-/ { print $1 }'); do ip netns del "$space"; done
    ip link del lora-bridge 2>/dev/null || true ;;
  *) echo "error: $1: up, wire, cut, mend, mpirun or down" >&2; exit 2 ;;
esac
