#!/bin/bash
# CPU time for each request: graylane's lane gateway and nginx, on the same lane rule (group=gray goes to the
# gray upstream with x-mse-tag set), one worker each, rounds interleaved. Envoy too, when `envoy` is there.
# Needs nginx and wrk; a busy machine changes requests per second, not CPU time per request.
#   benches/gateway.sh [ROUNDS] [SECONDS]
set -euo pipefail
rounds=${1:-5} seconds=${2:-4}
cd "$(dirname "$0")/.."
cargo build -q --release --example lane_gateway
dir=$(mktemp -d); pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
host=127.0.0.1 base=18181 gray=18182

nginx_conf() { # FILE HTTP-BLOCK
    cat >"$1" <<CONF
worker_processes 1; daemon off; pid $1.pid; error_log stderr crit;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path $dir/b; proxy_temp_path $dir/p; fastcgi_temp_path $dir/f;
uwsgi_temp_path $dir/u; scgi_temp_path $dir/s; keepalive_requests 1000000000;
$2
}
CONF
}
nginx_conf "$dir/up.conf" "
server { listen $host:$base; location / { return 200 'base'; } }
server { listen $host:$gray; location / { return 200 'gray'; } }"
nginx_conf "$dir/proxy.conf" "
upstream base { server $host:$base; keepalive 256; }
upstream gray { server $host:$gray; keepalive 256; }
map \$arg_group \$to { default base; gray gray; }
map \$arg_group \$tag { default ''; gray gray; }
server { listen $host:18080;
  location / { proxy_pass http://\$to; proxy_http_version 1.1; proxy_set_header Connection '';
    proxy_set_header x-mse-tag \$tag; proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for; } }"
start() { "$@" & pids+=($!); }
start nginx -c "$dir/up.conf"
start nginx -c "$dir/proxy.conf"; nginx_pid=$!
start target/release/examples/lane_gateway $host:18081 $host:$base $host:$gray; ours_pid=$!
names=(nginx graylane) ports=(18080 18081) procs=("$nginx_pid" "$ours_pid")
if command -v envoy >/dev/null; then
    cat >"$dir/envoy.yaml" <<CONF
static_resources:
  listeners:
  - address: {socket_address: {address: $host, port_value: 18082}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /, query_parameters: [{name: group, string_match: {exact: gray}}]}
                request_headers_to_add: [{header: {key: x-mse-tag, value: gray}}]
                route: {cluster: gray}
              - match: {prefix: /}
                request_headers_to_remove: [x-mse-tag]
                route: {cluster: base}
  clusters:
CONF
    for c in base gray; do
        echo "  - {name: $c, load_assignment: {cluster_name: $c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: $host, port_value: ${!c}}}}}]}]}}" >>"$dir/envoy.yaml"
    done
    start envoy -c "$dir/envoy.yaml" --concurrency 1 --log-level error
    names+=(envoy) ports+=(18082) procs+=($!)
fi

ticks() { # of a process and its children, user and system
    local sum=0 p
    for p in "$1" $(pgrep -P "$1" || true); do
        sum=$((sum + $(awk '{print $14 + $15}' "/proc/$p/stat")))
    done
    echo "$sum"
}
for port in "${ports[@]}"; do
    for want in "" gray; do
        for _ in $(seq 100); do
            got=$(curl -s "http://$host:$port/x?group=$want" || true)
            [ "$got" = "${want:-base}" ] && continue 2
            sleep 0.1
        done
        echo "port $port answers ${got:-nothing} for group=$want"; exit 1
    done
done
cat >"$dir/mix.lua" <<'LUA'
local n = 0
request = function() n = n + 1; return wrk.format("GET", n % 2 == 0 and "/x?group=gray" or "/x?page=1") end
LUA
hz=$(getconf CLK_TCK)
for round in $(seq "$rounds"); do
    for i in "${!names[@]}"; do
        before=$(ticks "${procs[$i]}")
        out=$(wrk -t1 -c32 -d"${seconds}s" -s "$dir/mix.lua" "http://$host:${ports[$i]}")
        after=$(ticks "${procs[$i]}")
        if grep -q 'Non-2xx\|Socket errors' <<<"$out"; then echo "$out"; exit 1; fi
        requests=$(awk '/requests in/ {print $1}' <<<"$out")
        awk -v n="${names[$i]}" -v r="$round" -v q="$requests" -v t=$((after - before)) -v hz="$hz" \
            'BEGIN {printf "%s %d %.1f %d\n", n, r, t / hz * 1e6 / q, q}' | tee -a "$dir/out"
    done
done
echo "--- CPU microseconds a request, median of $rounds rounds"
for n in "${names[@]}"; do
    awk -v n="$n" '$1 == n {print $3}' "$dir/out" | sort -n |
        awk -v n="$n" '{v[NR] = $1} END {printf "%-9s %.1f\n", n, v[int((NR + 1) / 2)]}'
done
