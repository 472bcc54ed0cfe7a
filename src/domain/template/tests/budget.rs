//! Templates that would exhaust CPU, memory or stack are rejected at the position that exceeds the
//! budget.

use super::shown;

/// Templates that each call the next one ten times, `depth` levels deep.
fn nested(depth: usize) -> String {
    let calls = |n: usize| format!("{{{{ template \"t{n}\" }}}}").repeat(10);
    let defines: String = (0..depth)
        .map(|n| format!("{{{{ define \"t{n}\" }}}}{}{{{{ end }}}}", calls(n + 1)))
        .collect();
    format!(
        "{{{{ define \"t{depth}\" }}}}x{{{{ end }}}}{defines}{}",
        calls(0)
    )
}

#[test]
fn bombs_end_at_their_place() {
    for (source, says) in [
        (
            "{{ range until 99999 }}{{ repeat 10000 `xxxxxxxxxx` }}{{ end }}",
            "t:1:27: the template renders more than",
        ),
        (
            "a\n{{ range 200000 }}{{ end }}",
            "t:2:1: `range` runs more than 100000 times",
        ),
        (
            "{{ range 5000 }}{{ range 7000 }}{{ end }}{{ end }}",
            "t:1:17: `range` runs more than",
        ),
        (
            "{{ $x := list 1 }}{{ range 40 }}{{ $x = list $x $x $x }}{{ end }}",
            "t:1:41: `list`: that list or map would hold",
        ),
        (
            "{{ $x := list 1 }}{{ range 999 }}{{ $x = list $x }}{{ end }}",
            "t:1:42: `list`: lists and maps nest in a depth",
        ),
        (
            "{{ $x := dict }}{{ range 999 }}{{ $x = dict 1 $x }}{{ end }}",
            "t:1:40: `dict`: lists and maps nest in a depth",
        ),
        (
            "{{ $x := `x` }}{{ range 30 }}{{ $x = print $x $x }}{{ end }}",
            "t:1:38: `print`: that text would be too long",
        ),
        (
            "{{ $x := until 900000 }}{{ range 90000 }}{{ $y := toJson $x | len }}{{ end }}",
            "t:1:51: `toJson`: that text",
        ),
        (
            "{{ $x := until 90000 }}{{ range 90000 }}{{ $y := has 1.5 $x }}{{ end }}",
            "t:1:50: the template takes more than",
        ),
        (
            "{{ $x := until 90000 | join `,` }}{{ range 90000 }}{{ $y := upper $x }}{{ end }}",
            "t:1:61: the template takes",
        ),
        (
            "{{ printf `%999999d%999999d%999999d` 1 2 3 }}",
            "t:1:4: `printf`: that text would be too long",
        ),
        (
            "{{ printf `%.999999f%.999999f` 1.5 2.5 }}",
            "t:1:4: `printf`: that text would be too long",
        ),
        (
            "{{ replace `` `xxxxxxxxxxxxxxxx` (repeat 999999 `y`) }}",
            "t:1:4: `replace`: that text would be too long",
        ),
        (
            "{{ join (repeat 99999 `b`) (until 99999) }}",
            "t:1:4: `join`: that text would be too long",
        ),
        (
            "{{ indent 1000 (repeat 9999 `\n`) }}",
            "t:1:4: `indent`: that text would be too long",
        ),
        (
            "{{ define `l` }}{{ template `l` }}{{ end }}{{ template `l` }}",
            "t:1:20: the templates call each other without end",
        ),
        (
            "{{ until 9223372036854775807 | len }}",
            "t:1:4: `until`: that list or map would hold",
        ),
    ] {
        let error = shown(source);
        assert!(error.starts_with(says), "{source}: {error}");
    }
    // Many trim characters and a long text: the cost is linear, not quadratic.
    assert_eq!(
        super::ok("{{ $s := repeat 999999 `b` }}{{ trimAll (print $s `c`) (repeat 999999 `c`) }}."),
        "."
    );
    assert!(shown(&nested(9)).contains("the template takes more than"));
}
