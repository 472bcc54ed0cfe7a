#!/bin/bash
# CPU of a cockpit that follows the hops of a demo's requests: with the demo's own traffic, and with HOPS a
# second. Both are percents of one core over 20 seconds, of the cockpit's process alone; and its memory at the end.
#   benches/follow.sh [HOPS] [PROGRAM]     (500, target/release/graylane, which is built when not named)
set -euo pipefail
hops=${1:-500} program=${2:-}
. "$(dirname "$0")/demo.sh"

entry=$(graylane get lanegroups -o json | grep -oE '127\.[0-9.]+:[0-9]+' | head -1)
# In a terminal of its own, whose output is dropped; the shell there writes the cockpit's process id.
TERM=xterm-256color script -qfc "stty cols 120 rows 36; echo \$\$ >$state/pid; exec $program --state $state/s" /dev/null \
    >/dev/null </dev/null 2>&1 & cockpit=$!
until [ -s "$state/pid" ]; do sleep 0.1; done
pid=$(cat "$state/pid")
ticks() { awk '{print $14 + $15}' "/proc/$pid/stat"; }
percent() {
    local before after
    before=$(ticks)
    sleep 20
    after=$(ticks)
    awk -v n=$((after - before)) -v hz="$(getconf CLK_TCK)" 'BEGIN {printf "%.1f %%", n * 100 / hz / 20}'
}
sleep 5
echo "demo's own traffic: $(percent) of a core"
python3 - "$entry" "$((hops / 3))" 30 <<'LOAD' &
import http.client, sys, threading, time
host, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
def ask(nth):
    connection, begun = http.client.HTTPConnection(host, timeout=10), time.time()
    for i in range(int(rate * seconds / 4)):
        connection.request("GET", "/A/a" + ("?group=gray" if (i + nth) % 2 else ""))
        connection.getresponse().read()
        time.sleep(max(0, begun + (i + 1) * 4 / rate - time.time()))
    return time.time() - begun
threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
begun = time.time()
[t.start() for t in threads]
[t.join() for t in threads]
print(f"sent {int(rate * seconds / 4) * 4 / (time.time() - begun):.0f} requests/s, each of three hops")
LOAD
load=$!
sleep 5
echo "$hops hops/s: $(percent) of a core"
wait "$load"
echo "memory: $(awk '/VmRSS/ {print $2}' "/proc/$pid/status") kB"
