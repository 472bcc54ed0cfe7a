# Sourced by the benches that look at a demo, with $program set to the binary or empty: starts a headless demo in a state folder
# of its own, and ends it with the script. Sets $program, $state (the demo's is $state/s) and $demo, its process; a script that
# starts a cockpit puts its process into $cockpit.
cd "$(dirname "$0")/.."
if [ -z "$program" ]; then
    cargo build -q --release
    program=target/release/graylane
fi
program=$(realpath "$program")
state=$(mktemp -d) demo= cockpit=
end() {
    [ -z "$cockpit" ] || kill "$cockpit" 2>/dev/null || true
    [ -z "$demo" ] || kill "$demo" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$state"
}
trap end EXIT
trap 'exit 130' INT TERM
export XDG_CONFIG_HOME=$state
unset KUBECONFIG
graylane() { "$program" --state "$state/s" "$@"; }
mkdir -m 700 "$state/s"
mkfifo "$state/out"
"$program" --state "$state/s" demo --headless >"$state/out" 2>"$state/err" & demo=$!
exec 3<"$state/out"
while read -r line <&3; do [ "$line" != ready ] || break; done
[ "${line:-}" = ready ] || { cat "$state/err" >&2; exit 1; }
cat <&3 >/dev/null &
