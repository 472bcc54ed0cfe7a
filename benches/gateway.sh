#!/bin/bash
# CPU time for each request: graylane's lane gateway and nginx, one worker each, rounds interleaved. Envoy too, when
# `envoy` is there. Three loads, each with the same rules everywhere:
#   lane    at the entry, group=gray goes to the gray upstream with x-mse-tag set, the rest to the base
#   rules   the same behind 1,000 rules for other paths
#   chain   an entry and a hop between two services: the first service calls the second through the same gateway, which
#           chooses by x-mse-tag; a request passes the gateway twice
# Needs nginx and wrk; a busy machine changes requests per second, not CPU time per request.
#   benches/gateway.sh [ROUNDS] [SECONDS]     GATEWAY=PROGRAM measures this build of examples/lane_gateway
set -euo pipefail
rounds=${1:-5} seconds=${2:-4} rules=1000
cd "$(dirname "$0")/.."
if [ -z "${GATEWAY:-}" ]; then
    cargo build -q --release --example lane_gateway
    GATEWAY=target/release/examples/lane_gateway
fi
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
# Services of each gateway listen at its entry's port + 20.
names=(nginx graylane graylane-rules nginx-rules) ports=(18080 18081 18084 18083)
if command -v envoy >/dev/null; then
    names+=(envoy envoy-rules) ports+=(18082 18085)
fi
again="" # where the first service finds the second: at the gateway that the request came through
for port in "${ports[@]}"; do
    again+="upstream next$port { server $host:$((port + 20)); keepalive 256; }
"
done
first="location /chain/ { proxy_pass http://next\$arg_next/x; proxy_http_version 1.1; proxy_set_header Connection ''; }"
nginx_conf "$dir/up.conf" "$again
server { listen $host:$base; location / { return 200 'base'; } $first }
server { listen $host:$gray; location / { return 200 'gray'; } $first }"
nginx_proxy() { # PORT RULES
    local to="proxy_http_version 1.1; proxy_set_header Connection '';
    proxy_set_header x-mse-tag \$tag; proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;"
    echo "
upstream base { server $host:$base; keepalive 256; }
upstream gray { server $host:$gray; keepalive 256; }
map \$arg_group \$to { default base; gray gray; }
map \$arg_group \$tag { default ''; gray gray; }
map \$http_x_mse_tag \$hop { default base; gray gray; }
server { listen $host:$1; location / { proxy_pass http://\$to; $to }"
    for n in $(seq 0 $(($2 - 1))); do
        echo "location /rule-$n { proxy_pass http://base; $to }"
    done
    echo "}
server { listen $host:$(($1 + 20)); location / { proxy_pass http://\$hop; proxy_http_version 1.1;
    proxy_set_header Connection ''; proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for; } }"
}
nginx_conf "$dir/proxy.conf" "$(nginx_proxy 18080 0)"
nginx_conf "$dir/rules.conf" "$(nginx_proxy 18083 $rules)"
start() { "$@" & pids+=($!); }
start nginx -c "$dir/up.conf"
declare -A process
start nginx -c "$dir/proxy.conf"; process[nginx]=$!
start nginx -c "$dir/rules.conf"; process[nginx-rules]=$!
start "$GATEWAY" $host:18081 $host:18101 $host:$base $host:$gray; process[graylane]=$!
start "$GATEWAY" $host:18084 $host:18104 $host:$base $host:$gray $rules; process[graylane-rules]=$!

envoy_listener() { # PORT ROUTES
    cat <<CONF
  - address: {socket_address: {address: $host, port_value: $1}}
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
$2
CONF
}
envoy_conf() { # PORT RULES
    local others="" c n
    for n in $(seq 0 $(($2 - 1))); do
        others+="              - {match: {path_separated_prefix: /rule-$n}, route: {cluster: base}}
"
    done
    echo "static_resources:
  listeners:"
    envoy_listener "$1" "$others              - match: {prefix: /, query_parameters: [{name: group, string_match: {exact: gray}}]}
                request_headers_to_add: [{header: {key: x-mse-tag, value: gray}}]
                route: {cluster: gray}
              - match: {prefix: /}
                request_headers_to_remove: [x-mse-tag]
                route: {cluster: base}"
    envoy_listener $(($1 + 20)) "              - match: {prefix: /, headers: [{name: x-mse-tag, string_match: {exact: gray}}]}
                route: {cluster: gray}
              - {match: {prefix: /}, route: {cluster: base}}"
    echo "  clusters:"
    for c in base gray; do
        echo "  - {name: $c, load_assignment: {cluster_name: $c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: $host, port_value: ${!c}}}}}]}]}}"
    done
}
if command -v envoy >/dev/null; then
    envoy_conf 18082 0 >"$dir/envoy.yaml"
    envoy_conf 18085 $rules >"$dir/envoy-rules.yaml"
    start envoy -c "$dir/envoy.yaml" --concurrency 1 --log-level error --base-id 1; process[envoy]=$!
    start envoy -c "$dir/envoy-rules.yaml" --concurrency 1 --log-level error --base-id 2; process[envoy-rules]=$!
fi

ticks() { # of a process and its children, user and system
    local sum=0 p
    for p in "$1" $(pgrep -P "$1" || true); do
        sum=$((sum + $(awk '{print $14 + $15}' "/proc/$p/stat")))
    done
    echo "$sum"
}
for port in "${ports[@]}"; do
    for path in "/x?" "/chain/?next=$port&"; do
        for want in "" gray; do
            for _ in $(seq 100); do
                got=$(curl -s "http://$host:$port${path}group=$want" || true)
                [ "$got" = "${want:-base}" ] && continue 2
                sleep 0.1
            done
            echo "port $port answers ${got:-nothing} for ${path}group=$want"; exit 1
        done
    done
done
hz=$(getconf CLK_TCK)
measure() { # LOAD NAME PATH
    local port i before after out requests name=$2
    for i in "${!names[@]}"; do [ "${names[$i]}" = "$name" ] && port=${ports[$i]}; done
    cat >"$dir/mix.lua" <<LUA
local n = 0
request = function() n = n + 1; return wrk.format("GET", "$3" .. (n % 2 == 0 and "group=gray" or "page=1") .. "&next=$port") end
LUA
    before=$(ticks "${process[$name]}")
    out=$(wrk -t1 -c32 -d"${seconds}s" -s "$dir/mix.lua" "http://$host:$port")
    after=$(ticks "${process[$name]}")
    if grep -q 'Non-2xx\|Socket errors' <<<"$out"; then echo "$out"; exit 1; fi
    requests=$(awk '/requests in/ {print $1}' <<<"$out")
    awk -v l="$1" -v n="${name%-rules}" -v r="$round" -v q="$requests" -v t=$((after - before)) -v hz="$hz" \
        'BEGIN {printf "%s %s %d %.1f %d\n", l, n, r, t / hz * 1e6 / q, q}' | tee -a "$dir/out"
}
for round in $(seq "$rounds"); do
    for name in "${names[@]}"; do
        case $name in
        *-rules) measure rules "$name" "/x?" ;;
        *) measure lane "$name" "/x?"; measure chain "$name" "/chain/?" ;;
        esac
    done
done
echo "--- CPU microseconds a request, median of $rounds rounds, and how many times that of nginx"
for load in lane rules chain; do
    reference=""
    for n in nginx graylane envoy; do
        median=$(awk -v l=$load -v n=$n '$1 == l && $2 == n {print $4}' "$dir/out" | sort -n |
            awk '{v[NR] = $1} END {if (NR) print v[int((NR + 1) / 2)]}')
        [ -n "$median" ] || continue
        reference=${reference:-$median}
        awk -v l=$load -v n=$n -v m="$median" -v of="$reference" 'BEGIN {printf "%-6s %-9s %5.1f  %.2f\n", l, n, m, m / of}'
    done
done
