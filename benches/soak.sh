#!/bin/bash
# How a demo grows, and that it stops growing: five Apps beside the demo's own, each released again and again. Every
# release builds an image by a Job, is approved by the command line, brings a gray version up, rolls production in two
# batches and takes gray down again; five run at a time. The demo's own traffic goes on, and a cockpit looks on.
# After every STEP releases a line: memory of the demo's process and of the cockpit's, size of the state folder and of the
# store in it, and how many there are of what comes with a release. What the Apps' history keeps (20 releases of each
# stage by default) is reached after 100.
#   benches/soak.sh [RELEASES] [STEP] [PROGRAM]     (1000, 25, target/release/graylane, which is built when not named)
set -euo pipefail
releases=${1:-1000} step=${2:-25} program=${3:-}
. "$(dirname "$0")/demo.sh"

for n in 1 2 3 4 5; do cat <<APP
apiVersion: graylane.dev/v1alpha1
kind: App
metadata: {name: soak-$n, namespace: demo}
spec:
  images:
    backend: {repository: soak-$n, context: spring-cloud-a}
  manifests:
  - name: deployment.yaml
    template: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: 'soak-$n-{{ .AppStack.envName }}'}
      spec:
        replicas: {{ .Values.replicas }}
        selector: {matchLabels: {app: 'soak-$n-{{ .AppStack.envName }}'}}
        template:
          metadata: {labels: {app: 'soak-$n-{{ .AppStack.envName }}'}}
          spec:
            terminationGracePeriodSeconds: 5
            containers:
            - name: main
              image: '{{ .AppStack.image.backend }}'
              ports: [{containerPort: 20001}]
              readinessProbe: {httpGet: {path: /health, port: 20001}, periodSeconds: 1}
  environments:
  - {name: gray, namespace: demo, lane: soak-$n, values: {replicas: 1}, rollout: {pause: never, drainSeconds: 0}}
  - {name: prod, namespace: demo, values: {replicas: 2}, rollout: {batches: [1, "100%"], pause: never}}
  workflow:
    stages:
    - name: production
      tasks:
      - name: build
        build:
          image: backend
          job: |
            apiVersion: batch/v1
            kind: Job
            metadata: {name: build}
            spec:
              template:
                spec:
                  restartPolicy: Never
                  containers:
                  - name: build
                    image: graylane-builder:v1
                    args: ["--tag", "{{ .Build.image }}", "{{ .Build.context }}"]
      - {name: approve, approval: {requesterMayApprove: true}}
      - {name: gray, deploy: {environment: gray}}
      - {name: prod, deploy: {environment: prod}}
      - {name: clean, cleanUp: {environment: gray}}
---
APP
done >"$state/apps.yaml"
graylane apply -f "$state/apps.yaml" >/dev/null

if command -v script >/dev/null; then
    # Nobody presses a key, and the terminal does not end.
    mkfifo "$state/keys"
    exec 4<>"$state/keys"
    TERM=xterm-256color script -qec "stty rows 40 cols 160; echo \$\$ >$state/cockpit; exec $program --state $state/s" \
        /dev/null <&4 >/dev/null 2>&1 & cockpit=$!
else
    echo "no script(1): the cockpit is not measured" >&2
fi

rss() { awk '/^VmRSS/ {printf "%d", $2 / 1024}' "/proc/$1/status" 2>/dev/null || printf -- -; }
count() { graylane get "$1" -o name 2>/dev/null | wc -l; }
row='%8s %8s %11s %9s %9s %9s %10s %6s %8s\n'
figures() { # RELEASES
    local store all
    store=$(du -m --apparent-size "$state/s/store.redb" | cut -f1)
    all=$(du -sm "$state/s" | cut -f1)
    # shellcheck disable=SC2059
    printf "$row" "$1" "$(rss $demo)" "$(rss "$(cat "$state/cockpit" 2>/dev/null || echo 0)")" "$store" "$all" \
        "$(count releases)" "$(count approvals)" "$(find "$state/s/pods" -mindepth 1 -maxdepth 1 | wc -l)" \
        "$(graylane pocket images -o name | wc -l)"
}
release() { # APP
    local name
    name=$(graylane release start "$1" --stage production | tail -1)
    name=${name##* }
    graylane release wait "$name" --task approve --phase Waiting --timeout 1200s >/dev/null
    graylane approve "$name" >/dev/null
    graylane release wait "$name" --phase Succeeded --timeout 1200s >/dev/null
}

# shellcheck disable=SC2059
printf "$row" releases 'RSS MB' 'cockpit MB' 'store MB' 'state MB' objects approvals pods images
figures 0
done=0 next=$step failed=0
while [ "$done" -lt "$releases" ]; do
    waits=()
    for n in 1 2 3 4 5; do
        release "soak-$n" 2>>"$state/failed" & waits+=($!)
    done
    for pid in "${waits[@]}"; do wait "$pid" || failed=$((failed + 1)); done
    done=$((done + 5))
    if [ "$failed" -gt 5 ]; then
        echo "$failed releases did not succeed:" >&2
        tail -20 "$state/failed" >&2
        exit 1
    fi
    if [ "$done" -ge "$next" ]; then
        figures "$done"
        next=$((next + step))
    fi
done
[ "$failed" -eq 0 ] || echo "$failed releases did not succeed" >&2
