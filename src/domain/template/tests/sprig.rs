//! Tests of the Sprig functions.

use super::{ok, shown};

#[test]
fn texts() {
    for (source, text) in [
        (
            "{{ quote \"a\\\"b\" }} {{ .Values.port | quote }} {{ squote \"it's\" }}",
            r#""a\"b" "20001" 'it''s'"#,
        ),
        (
            "{{ upper \"aé\" }}{{ lower \"AÉ\" }} {{ title \"hello big-world\" }}",
            "AÉaé Hello Big-World",
        ),
        (
            "[{{ trim \"  a \" }}][{{ trimAll \"-\" \"--a-\" }}][{{ trimPrefix \"v\" \"v1\" }}][{{ trimSuffix \".y\" \"x.y\" }}]",
            "[a][a][1][x]",
        ),
        (
            "{{ replace \"-\" \"_\" \"a-b-c\" }} {{ repeat 3 \"ab\" }} {{ nospace \"a b\" }}",
            "a_b_c ababab ab",
        ),
        (
            "{{ trunc 5 .AppStack.appName }} {{ trunc -2 .AppStack.appName }} {{ trunc 63 \"灰度\" }}",
            "sprin -a 灰度",
        ),
        (
            "{{ b64enc \"secret\" }} {{ b64dec \"c2VjcmV0\" }}",
            "c2VjcmV0 secret",
        ),
        ("{{ sha256sum \"\" | trunc 8 }}", "e3b0c442"),
        (
            "{{ contains \"lo\" .Values.text }} {{ hasPrefix \"he\" .Values.text }} {{ hasSuffix \"x\" .Values.text }}",
            "true true false",
        ),
        (
            "{{ ternary \"a\" \"b\" .Values.off }} {{ cat 1 \"x\" }} {{ toString 3 | quote }}",
            "b 1 x \"3\"",
        ),
        (
            "labels:{{ .Values.labels | toYaml | nindent 2 }}",
            "labels:\n  team: shop\n  tier: web",
        ),
        ("{{ \"a\\nb\" | indent 2 }}", "  a\n  b"),
    ] {
        assert_eq!(ok(source), text, "{source}");
    }
}

#[test]
fn lists_maps_and_numbers() {
    for (source, text) in [
        (
            "{{ list 1 2 3 | join \",\" }} {{ splitList \"/\" \"a/b\" | last }} {{ first (list 7 8) }} {{ has 2 (list 1 2) }}",
            "1,2,3 b 7 true",
        ),
        (
            "{{ (dict \"a\" 1).a }} {{ hasKey .Values \"port\" }} {{ hasKey .Values \"nope\" }} {{ keys .Values.labels | join \" \" }}",
            "1 true false team tier",
        ),
        ("{{ get .Values.labels \"team\" }}", "shop"),
        (
            "{{ add 1 2 3 }} {{ sub 5 2 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod 7 2 }} {{ max 1 9 3 }} {{ min 4 2 }} {{ int \"12\" }}",
            "6 3 6 3 1 9 2 12",
        ),
    ] {
        assert_eq!(ok(source), text, "{source}");
    }
}

#[test]
fn complaints_have_a_place_and_say_how() {
    for (source, says) in [
        (
            "a {{ div 1 0 }}",
            "t:1:6: `div`: the result is no number of 64 bits",
        ),
        (
            "{{ add \"x\" 1 }}",
            "t:1:4: `add`: \"x\" is no whole number",
        ),
        (
            "{{ trunc 3 }}",
            "t:1:4: `trunc`: it is used as `trunc LENGTH TEXT`",
        ),
        ("{{ b64dec \"***\" }}", "t:1:4: `b64dec`: "),
        ("{{ fail \"not for prod\" }}", "t:1:4: `fail`: not for prod"),
        (
            "{{ repeat 99999999999 \"x\" }}",
            "t:1:4: `repeat`: that text would be too long",
        ),
        (
            "{{ \"x\" | indent 2 | nindent 9999999999 }}",
            "t:1:21: `nindent`: that text would be too long",
        ),
        (
            "{{ first 3 }}",
            "t:1:4: `first`: it needs a list, this is a number",
        ),
    ] {
        let error = shown(source);
        assert!(error.starts_with(says), "{error}");
    }
}
