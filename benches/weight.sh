#!/bin/bash
# What graylane weighs on a real API server with 5,000 pods of about 8.4 kB, 400 Deployments, 200 Apps and 50 Releases:
# how long the first output and the first screen of data take, and the memory, CPU and output of the cockpit and of the
# engine, at rest and while 100 pods a second change. The pods are of Apps without a release. What the cockpit writes at rest
# is the ages of the Releases, once a minute. Then how soon 200 Releases that are created at once begin; on an API server of
# its own also while that gets a twentieth of its time, and how often the engine loses its Lease.
#   benches/weight.sh [PROGRAM] [KUBECONFIG]     (target/release/graylane, which is built when not named)
# Without a kubeconfig an API server of its own is started from KUBEBUILDER_ASSETS (etcd, kube-apiserver; no controllers, no
# kubelet), and ends with the script. With one, kubectl is needed, and the namespace graylane-weight is made and deleted.
# PODS, CHANGES, SECONDS, REST and STARTS set how many pods, changes a second, seconds under change, seconds at rest and
# starts (5000, 100, 20, 60, 5).
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-} kubeconfig=${2:-}
if [ -z "$program" ]; then
    cargo build -q --release
    program=target/release/graylane
fi
program=$(realpath "$program")
assets=${KUBEBUILDER_ASSETS:-/usr/local/kubebuilder/bin}
dir=$(mktemp -d) pids=() made= server=
end() {
    [ -z "$made" ] || kubectl --kubeconfig "$kubeconfig" delete namespace graylane-weight --wait=false >/dev/null || true
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 130' INT TERM
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

if [ -n "$kubeconfig" ]; then
    kubeconfig=$(realpath "$kubeconfig")
    kubectl --kubeconfig "$kubeconfig" create namespace graylane-weight >/dev/null
    made=yes
    port=$(free_port)
    kubectl --kubeconfig "$kubeconfig" proxy --port "$port" >/dev/null & pids+=($!)
    api=http://127.0.0.1:$port
else
    for name in etcd kube-apiserver; do
        [ -x "$assets/$name" ] || { echo "no $name in $assets: set KUBEBUILDER_ASSETS, or name a kubeconfig" >&2; exit 1; }
    done
    clients=$(free_port) peers=$(free_port) port=$(free_port)
    "$assets/etcd" --data-dir "$dir/etcd" --listen-client-urls "http://127.0.0.1:$clients" --unsafe-no-fsync \
        --advertise-client-urls "http://127.0.0.1:$clients" --listen-peer-urls "http://127.0.0.1:$peers" \
        --log-level error >"$dir/etcd.log" 2>&1 & pids+=($!)
    openssl genrsa -out "$dir/accounts.key" 2048 2>/dev/null
    echo 'weight,admin,admin,"system:masters"' >"$dir/tokens"
    "$assets/kube-apiserver" --etcd-servers "http://127.0.0.1:$clients" --bind-address 127.0.0.1 --secure-port "$port" \
        --cert-dir "$dir/certs" --token-auth-file "$dir/tokens" --authorization-mode RBAC \
        --disable-admission-plugins ServiceAccount --endpoint-reconciler-type none --profiling=false \
        --service-cluster-ip-range 10.0.0.0/16 --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$dir/accounts.key" --service-account-signing-key-file "$dir/accounts.key" \
        >"$dir/api.log" 2>&1 & server=$! pids+=($!)
    api=https://127.0.0.1:$port kubeconfig=$dir/kubeconfig
    for _ in $(seq 600); do
        curl -skf -H 'Authorization: Bearer weight' "$api/readyz" >/dev/null && break
        sleep 0.2
    done
    cat >"$kubeconfig" <<CONFIG
{"apiVersion": "v1", "kind": "Config", "current-context": "weight",
 "contexts": [{"name": "weight", "context": {"cluster": "weight", "user": "weight", "namespace": "graylane-weight"}}],
 "clusters": [{"name": "weight", "cluster": {"server": "$api",
   "certificate-authority-data": "$(base64 -w0 "$dir/certs/apiserver.crt")"}}],
 "users": [{"name": "weight", "user": {"token": "weight"}}]}
CONFIG
    chmod 600 "$kubeconfig"
fi
export XDG_CONFIG_HOME=$dir XDG_STATE_HOME=$dir
python3 benches/weight.py "$program" "$kubeconfig" "$api" $server
