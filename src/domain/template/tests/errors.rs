//! Errors give a position and a fix. Also deliberate differences from Go, where Go accepts what is
//! almost certainly a mistake (see the table in docs/manifests.md).

use super::super::{Context, find_placeholders, render};
use super::{context, ok, shown, wrong};
use serde_json::json;

#[test]
fn unbalanced_blocks_are_errors() {
    for (source, says) in [
        (
            "a: 1\n{{ end }}\nb: 2\n",
            "t:2:1: this `end` closes nothing; remove it, or open its block",
        ),
        (
            "a\n{{ if .Values.off }}x",
            "t:2:1: this `if` is never closed; add `{{ end }}` where it should end",
        ),
        (
            "{{ else }}x",
            "t:1:1: this `else` belongs to no `if`, `with` or `range`",
        ),
        (
            "{{ if .Values.off }}{{ else }}{{ else }}{{ end }}",
            "t:1:31: this `if` has an `else` already",
        ),
        (
            "{{ define \"x\" }}a{{ else }}b{{ end }}",
            "t:1:18: this `else` belongs to no `if`, `with` or `range`",
        ),
        (
            "{{ if .Values.off }}{{ endif }}",
            "t:1:21: there is no `endif`; every block ends with `{{ end }}`",
        ),
        (
            "a\nb {{ .Values.port",
            "t:2:3: this `{{` is never closed; add `}}`",
        ),
        ("{{/* no end", "t:1:1: this `{{` is never closed; add `}}`"),
        (
            "{{ if 1 }}{{ define \"x\" }}{{ end }}{{ end }}",
            "t:1:11: a `define` inside another block; move it to the top level",
        ),
        ("{{ break }}", "t:1:1: `break` outside a `range`"),
    ] {
        assert_eq!(shown(source), says, "{source}");
    }
}

#[test]
fn braces_in_quotes_and_comments_are_none() {
    assert_eq!(
        ok("{{ \"}} {{ end }}\" }}{{/* {{ end }} */}}{{ `}}` }}|{{- /* x */ -}} |"),
        "}} {{ end }}}}||"
    );
    assert_eq!(ok("a }} b {{ printf \"%s\" `\"` }}"), "a }} b \"");
}

#[test]
fn a_missing_key_names_itself_and_its_place() {
    assert_eq!(
        shown("x\n  y: {{ .Values.prot }}"),
        "t:2:9: nothing is known as `.Values.prot`: `prot` is missing; did you mean `port`?"
    );
    assert_eq!(
        shown("{{ .appName }}"),
        "t:1:4: nothing is known as `.appName`: `appName` is missing; a template knows .AppStack and .Values"
    );
    assert!(shown("{{ .AppStack.version }}").contains("AppStack has appName, envName, namespace"));
    assert!(
        shown("{{ range .Values.hosts }}{{ .wieght }}{{ break }}{{ end }}")
            .contains("did you mean `weight`?")
    );
    assert!(shown("{{ .Values.port.number }}").contains("there is no `number` in a number"));
    assert!(
        shown("{{ with .Values.labels }}{{ .color }}{{ end }}").contains("there are team, tier")
    );
    assert_eq!(
        wrong("{{ range .Values.hosts }}{{ .x }}{{ end }}").len(),
        1,
        "the same mistake twice is one"
    );
    assert_eq!(
        wrong("{{ .Values.a }} {{ .Values.b }}\n{{ if .Values.c }}x{{ end }}").len(),
        3
    );
}

#[test]
fn only_branches_that_run_must_be_complete() {
    assert_eq!(
        ok("{{ if .Values.off }}{{ .Values.missing }}{{ else }}fine{{ end }}"),
        "fine"
    );
    assert_eq!(
        ok(
            "{{ if and .Values.off .Values.missing }}x{{ end }}{{ or .Values.port .Values.missing }}"
        ),
        "20001"
    );
}

#[test]
fn null_is_never_printed() {
    assert_eq!(
        shown("{{ .Values.nothing }}"),
        "t:1:4: `.Values.nothing` has no value to print; give it one, or write `default …` behind it"
    );
    assert_eq!(
        ok("{{ if .Values.nothing }}x{{ else }}none{{ end }}"),
        "none"
    );
    assert_eq!(ok("{{ .Values.nothing | default 3 }}"), "3");
    for source in [
        "{{ html nil }}",
        "{{ js nil }}",
        "{{ urlquery nil }}",
        "{{ print nil }}",
        "{{ printf \"%v\" .Values.nothing }}",
        "<no value>",
        "{{ `<no value>` }}",
    ] {
        assert_eq!(wrong(source).len(), 1, "{source}");
    }
}

#[test]
fn default_is_for_missing_keys() {
    assert_eq!(
        ok(
            "{{ .Values.x | default \"y\" }}{{ default \"z\" .Values.x.y.z }}{{ (.Values.q | default 1) }}"
        ),
        "yz1"
    );
    assert_eq!(
        ok(
            "{{ .Values.port | default 1 }}{{ coalesce .Values.a .Values.b .Values.text }}{{ empty .Values.x }}"
        ),
        "20001hello worldtrue"
    );
    assert_eq!(
        shown("a: {{ required \"set the key\" .Values.key }}"),
        "t:1:7: `required`: set the key"
    );
    assert_eq!(
        wrong("{{ .Values.x | upper | default \"y\" }}").len(),
        1,
        "what is missing for `upper` is missing"
    );
}

#[test]
fn unknown_functions_are_found_before_they_run() {
    assert_eq!(
        shown("{{ if .Values.off }}{{ .Values.x | qoute }}{{ end }}"),
        "t:1:36: there is no function `qoute`; did you mean `quote`?"
    );
    assert!(
        shown("{{ include \"x\" . }}")
            .contains("`include` is Helm's: write `{{ template \"name\" . }}`")
    );
    assert!(shown("{{ now }}").contains("must render the same each time"));
    assert_eq!(
        wrong("{{ foobar 1 }}{{ .Values.missing }}").len(),
        2,
        "with all else at once"
    );
}

#[test]
fn words_run_together_get_a_hint() {
    for (source, meant) in [
        (
            "{{ ifeq.AppStack.envName\"gray\" }}x{{ end }}",
            "if eq .AppStack.envName \"gray\"",
        ),
        ("{{ifnot.Values.off}}x{{end}}", "if not .Values.off"),
        (
            "{{ eq.AppStack.envName\"gray\" }}",
            "eq .AppStack.envName \"gray\"",
        ),
        (
            "{{ if .Values.off }}{{ elseif .Values.port }}{{ end }}",
            "else if .Values.port",
        ),
    ] {
        let error = shown(source);
        assert!(
            error.contains(&format!("did you mean `{meant}`?")),
            "{error}"
        );
    }
    assert_eq!(
        ok("{{if.Values.port}}Go takes this{{end}}"),
        "Go takes this"
    );
}

#[test]
fn lists_and_maps_do_not_print_themselves() {
    assert!(shown("x: {{ .Values.labels }}").contains("write `{{ .Values.labels | toJson }}`"));
    assert_eq!(
        ok("x: {{ .Values.hosts | toJson }}"),
        r#"x: [{"name":"a","weight":1},{"name":"b","weight":2}]"#
    );
}

#[test]
fn named_templates() {
    assert_eq!(
        ok("{{ define \"l\" }}app: {{ .AppStack.appName }}{{ end }}{{ template \"l\" . }}"),
        "app: spring-cloud-a"
    );
    assert_eq!(
        ok("{{ block \"l\" .Values.labels }}{{ .team }}{{ end }}"),
        "shop"
    );
    assert_eq!(
        shown("{{ define \"labels\" }}{{ end }}{{ template \"lables\" . }}"),
        "t:1:34: no template \"lables\" is defined; did you mean \"labels\"?"
    );
    assert!(
        shown("{{ define \"l\" }}{{ .AppStack.appName }}{{ end }}{{ template \"l\" }}")
            .contains("called without data")
    );
    assert!(
        shown("{{ define \"l\" }}{{ template \"l\" . }}{{ end }}{{ template \"l\" . }}")
            .contains("without end")
    );
    assert_eq!(
        shown("{{ define \"l\" }}a{{ end }}\n{{ define \"l\" }}b{{ end }}"),
        "t:2:4: the template \"l\" is defined twice"
    );
}

#[test]
fn other_mistakes_have_a_place_too() {
    assert!(shown("a\nb: {{ .Values.my-key }}").starts_with("t:2:"));
    assert!(shown("a\n{{ .Values.port 3 }}").starts_with("t:2:4: `.Values.port` is no function"));
    assert!(shown("a\nb\n{{ len 3 }}").starts_with("t:3:"));
    assert!(shown("a\n{{ $x }}").starts_with("t:2:"));
    assert!(shown("{{ range .Values.hosts }}\n{{ index . 3 }}{{ end }}").starts_with("t:2:"));
    assert!(shown("a\u{1}").contains("control character"));
    assert!(shown("{{ printf \"%c\" 1 }}").contains("control character"));
    assert!(shown("{{ range 200000 }}{{ end }}").contains("more than"));
}

#[test]
fn names_that_nobody_knows_are_errors_also_where_nothing_runs() {
    assert_eq!(
        shown("{{ $replicas := 1 }}{{ $repilcas = 3 }}ok"),
        "t:1:24: the variable `$repilcas` is not declared; did you mean `$replicas`?"
    );
    assert_eq!(
        shown("{{ if false }}{{ $nope }}{{ end }}ok"),
        "t:1:18: the variable `$nope` is not declared; declare it with `:=` where it is to be known"
    );
    assert_eq!(
        shown("{{ if false }}{{ $nope = 1 }}{{ end }}ok"),
        "t:1:18: the variable `$nope` is not declared; write `:=` to declare it"
    );
    assert_eq!(
        wrong("{{ $a }}{{ $b }}{{ foo }}{{ template `x` }}{{ .Values.missing }}").len(),
        5,
        "all at once"
    );
    assert_eq!(
        wrong("{{ 08 }}{{ print 1 }}{{ \"\\d\" }}{{ (1 }}{{ `a }}").len(),
        4,
        "what cannot be read too"
    );
    assert!(
        find_placeholders("t", "{{ if false }}{{ $nope }}{{ end }}").is_err(),
        "also where nothing is rendered"
    );
}

#[test]
fn nothing_is_no_text() {
    assert_eq!(
        shown("{{ .Values.nothing | upper }}"),
        "t:1:22: `upper` needs a text here, and this is nothing; it is used as `upper TEXT`; give it a value, or write \
         `default …`"
    );
    assert_eq!(
        shown("{{ b64enc .Values.port }}"),
        "t:1:11: `b64enc` needs a text here, and this is a number; it is used as `b64enc TEXT`; write `toString` before it"
    );
}

#[test]
fn better_than_go_and_sprig_on_purpose() {
    for (source, text) in [
        // Sprig treats `int` and `int64` as different types, which surprises Helm users.
        (
            "{{ repeat (add 1 2) \"x\" }} {{ has 3 (list (add 1 2)) }} {{ trunc (int64 2) \"abc\" }}",
            "xxx true ab",
        ),
        ("{{ squote \"it's\" }}", "'it''s'"),
        (
            "{{ trunc 3 \"灰度\" }}|{{ trunc -4 \"灰度\" }}|{{ trunc 4 \"灰度\" }}",
            "灰|度|灰",
        ),
        (
            "{{ keys (dict \"b\" 1 \"a\" 2) (dict \"c\" 1) | join \",\" }}",
            "a,b,c",
        ),
        (
            "{{ slice (list 1 2 3) 1 2 | toJson }} {{ slice \"abc\" 1 }}",
            "[2] bc",
        ),
        (
            "{{ get .Values.nothing \"x\" }}{{ hasKey .Values.nothing \"x\" }}",
            "false",
        ),
        ("{{ toYaml (dict \"<<\" 1) }}", "\"<<\": 1"),
    ] {
        assert_eq!(ok(source), text, "{source}");
    }
    for source in [
        "{{ int \"x\" }}",
        "{{ add 1.5 1 }}",
        "{{ add nil 1 }}",
        "{{ mul 9223372036854775807 2 }}",
        "{{ dict \"a\" }}",
        "{{ b64dec \"/w==\" }}",
        "{{ \"\\xff\" }}",
        "{{ slice \"é\" 0 1 }}",
        "{{ printf \"%p\" (list 1) }}",
        "{{ 1i }}",
        "{{ 1+2i }}",
    ] {
        assert_eq!(wrong(source).len(), 1, "{source}");
    }
}

#[test]
fn what_go_can_this_can() {
    for (source, text) in [
        (
            "{{ range $i, $h := .Values.hosts }}{{ if $i }},{{ end }}{{ $h.name }}={{ .weight }}{{ end }}",
            "a=1,b=2",
        ),
        (
            "{{ range $k, $v := .Values.labels }}{{ $k }}:{{ $v }} {{ end }}",
            "team:shop tier:web ",
        ),
        (
            "{{ $x := 1 }}{{ range .Values.hosts }}{{ $x = .weight }}{{ end }}{{ $x }}",
            "2",
        ),
        (
            "{{ with .Values.labels }}{{ $.AppStack.envName }}-{{ .team }}{{ end }}",
            "gray-shop",
        ),
        (
            "{{ if and (eq .AppStack.envName \"gray\") (gt .Values.replicas 1) }}yes{{ else }}no{{ end }}",
            "yes",
        ),
        (
            "{{ if eq .AppStack.envName \"test\" \"gray\" }}one of{{ end }}",
            "one of",
        ),
        (
            "{{ range .Values.none | default list }}x{{ else }}none{{ end }}",
            "none",
        ),
        (
            "{{ index .Values \"port\" }} {{ (index .Values.hosts 1).name }} {{ len .Values.hosts }}",
            "20001 b 2",
        ),
        (
            "{{ printf \"%s-%03d\" .AppStack.appName 7 }}",
            "spring-cloud-a-007",
        ),
        (
            "{{ .AppStack.namespace }}/{{ .Values.namespace }}/{{ .AppStack.replicas }}",
            "demo/demo/2",
        ),
        ("a  {{- 1 -}}  b", "a1b"),
        (
            "{{ if .Values.off }}a{{ else if .Values.port }}b{{ else }}c{{ end }}",
            "b",
        ),
        (
            "{{ range .Values.hosts }}{{ if eq .name \"a\" }}{{ continue }}{{ end }}{{ .name }}{{ end }}",
            "b",
        ),
    ] {
        assert_eq!(ok(source), text, "{source}");
    }
}

#[test]
fn a_value_of_the_environment_overrides_the_namespace() {
    let mut context = context();
    context.values.insert("namespace".into(), json!("other"));
    assert_eq!(
        render(
            "t",
            "{{ .Values.namespace }} {{ .AppStack.namespace }}",
            &context
        )
        .unwrap(),
        "other demo"
    );
    assert!(render("t", "{{ .Values.x }}", &Context::default()).is_err());
}

#[test]
fn placeholders_are_followed_into_blocks() {
    let source = "{{ with .Values.labels }}{{ .team }}{{ $.AppStack.envName }}{{ end }}\n\
        {{ range $i, $h := .Values.hosts }}{{ $h.name }}{{ .weight }}{{ end }}\n\
        {{ $a := .AppStack }}{{ $a.image.backend | quote }}{{ define \"x\" }}{{ .port }}{{ end }}{{ template \"x\" .Values }}";
    let paths: Vec<String> = find_placeholders("t", source)
        .unwrap()
        .into_iter()
        .map(|p| p.path)
        .collect();
    for path in [
        ".Values.labels.team",
        ".AppStack.envName",
        ".Values.hosts[].name",
        ".Values.hosts[].weight",
        ".AppStack.image.backend",
        ".Values.port",
    ] {
        assert!(paths.iter().any(|p| p == path), "{path} in {paths:?}");
    }
    assert!(find_placeholders("t", "{{ if }}").is_err());
}

#[test]
fn depth_is_bounded_without_a_crash() {
    for open in [
        "{{ if 1 }}",
        "{{ range 1 }}",
        "{{ with 1 }}",
        "{{ block \"x\" . }}",
    ] {
        for depth in [40, 41, 3000] {
            let source = format!("{}x{}", open.repeat(depth), "{{ end }}".repeat(depth));
            match render("t", &source, &context()) {
                Ok(text) => assert!(depth == 40 && text == "x", "{open} {depth}"),
                // The same template name 40 times: an error, but not about depth.
                Err(errors) if depth == 40 => {
                    assert!(errors[0].message.contains("twice"), "{}", errors[0]);
                }
                Err(errors) => assert!(
                    depth > 40 && errors[0].message.contains("depth"),
                    "{}",
                    errors[0]
                ),
            }
        }
    }
    let parentheses =
        |depth: usize| format!("{{{{ {}1{} }}}}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(ok(&parentheses(40)), "1");
    assert!(shown(&parentheses(3000)).contains("depth"));
    let chain = |length: usize| {
        format!(
            "{{{{ if .Values.off }}}}a{}{{{{ end }}}}",
            "{{ else if .Values.off }}b".repeat(length)
        )
    };
    assert_eq!(ok(&chain(38)), "");
    assert!(shown(&chain(3000)).contains("depth"));
    // Deepest case: a template that calls itself, deep inside blocks and parentheses.
    let inside = format!(
        "{}{}{{{{ template \"x\" . }}}}{}",
        "{{ if 1 }}".repeat(38),
        parentheses(40),
        "{{ end }}".repeat(38)
    );
    assert!(
        shown(&format!(
            "{{{{ define \"x\" }}}}{inside}{{{{ end }}}}{{{{ template \"x\" . }}}}"
        ))
        .contains("without end")
    );
}
