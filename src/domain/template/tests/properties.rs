//! Properties that hold for any text.

use super::super::{find_placeholders, render, render_manifests};
use super::article::MANIFEST;
use super::context;
use proptest::prelude::*;

/// Text with many actions; plain `any::<String>` rarely contains one.
fn template() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "{{", "}}", "{{-", "-}}", "{{ end }}", "{{ else }}", "{{ if .Values.off }}", "{{ range .Values.hosts }}",
            "{{ with .Values.labels }}", "{{ define \"x\" }}", "{{ template \"x\" . }}", "{{ block \"b\" . }}", "{{ break }}",
            "{{ .Values.port }}", "{{ .Values.nothing }}", "{{ .name }}", "{{ $x := 1 }}", "{{ $x }}", "{{ $ }}", "{{ . }}",
            "{{ .Values.a | default 1 }}", "{{ index .Values.hosts 0 }}", "{{ printf \"%d\" .Values.port }}", "{{/* c */}}",
            "{{- /* c */ -}}", "{{ $x = .Values.hosts }}", "{{ range $i, $x := .Values }}", "{{ else if .x }}", "{{ continue }}",
            "{{ printf \"%[2]*.3v|%q\" .Values.hosts 7 }}", "{{ with $x := 1.5 }}", "{{ slice \"é\" 0 1 }}", "{{ trunc 1 \"é\" }}",
            "{{ list 1 (dict \"a\" nil) | toYaml | nindent 2 }}", "{{ ifeq.a\"b\" }}", "{{ html nil }}", "{{ index .Values \"x\" }}",
        ]).prop_map(str::to_owned),
        1 => "[ -~\\n]{0,8}",
        1 => "[.$|()\"`'{}=:a-c0-9 -]{0,8}".prop_map(|inside| format!("{{{{ {inside} }}}}")),
        1 => ("[%#+0 .*\\[\\]1-9-]{0,6}", any::<char>(), "[a-z0-9 .\"]{0,6}")
            .prop_map(|(flags, verb, arg)| format!("{{{{ printf `%{flags}{verb}` {arg} 1 2.5 }}}}")),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn any_text_renders_or_says_where_it_is_wrong() {
    crate::fuzz::any("templates", 500, 1, &template(), |sources| {
        for source in sources {
            let lines = source.matches('\n').count() + 1;
            match render("t", &source, &context()) {
                Ok(text) => {
                    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
                    prop_assert!(
                        !text.contains("<no value>") && !text.contains(odd),
                        "{:?}",
                        text
                    );
                }
                Err(errors) => {
                    prop_assert!(!errors.is_empty());
                    for e in errors {
                        prop_assert!((1..=lines).contains(&e.line) && e.column >= 1, "{}", e);
                    }
                }
            }
            let _ = render_manifests("t", &source, &context());
            let _ = find_placeholders("t", &source);
        }
        Ok(())
    });
}

proptest! {
    #[test]
    fn text_without_actions_renders_itself(source in "[ -z|~\n灰度]{0,60}") {
        prop_assert_eq!(render("t", &source, &context()), Ok(source));
    }

    #[test]
    fn a_manifest_cut_anywhere_never_renders_a_part_of_itself_silently(cut in 0usize..MANIFEST.len()) {
        // A cut inside an action or a block is an error; elsewhere it leaves a shorter manifest.
        let cut = MANIFEST.floor_char_boundary(cut);
        let source = &MANIFEST[..cut];
        let open = source.matches("{{").count() > source.matches("}}").count();
        let blocks = source.matches("if eq").count() > source.matches("end }}").count();
        if open || blocks {
            prop_assert!(render("t", source, &context()).is_err());
        }
    }

    #[test]
    fn values_arrive_as_they_are(value in "[a-zA-Z0-9 :#'\"{}\\[\\]%&*!|>灰度-]{1,40}") {
        let mut context = context();
        context.values.insert("text".into(), value.clone().into());
        let source = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  text: {{ .Values.text | quote }}\n";
        let objects = render_manifests("t", source, &context).unwrap();
        prop_assert_eq!(objects[0]["data"]["text"].as_str(), Some(value.as_str()));
    }
}
