//! What the rewritten tree calls. A hook notes a problem and hands on an empty value, so that the run goes on and finds the
//! next one; what an empty value then causes is no problem of its own.

use super::{Context, Findings, Function, Go, NO_DATA, PRINT, Problem, READ, Site, UNKNOWN, functions, hooked};
use gotmpl::{FuncMap, TemplateError};
use std::sync::Arc;

/// How Go prints what is not there, also by `html`, `js` and `urlquery`.
const NOTHING: [&str; 5] = ["<no value>", "<nil>", "&lt;no value&gt;", "%3Cno+value%3E", "\\u003Cno value\\u003E"];

type Known = Arc<[Site]>;
type Hook = Box<dyn Fn(&Site, &[Go]) -> Go + Send + Sync>;

pub(super) fn functions(sites: Known, findings: &Findings, context: &Context) -> FuncMap {
    let mut out = FuncMap::new();
    let mut add = |name: String, hook: Hook| {
        let sites = sites.clone();
        let call = move |args: &[Go]| match args.split_first() {
            Some((Go::Int(i), rest)) if (0..sites.len() as i64).contains(i) => Ok(hook(&sites[*i as usize], rest)),
            _ => Err(TemplateError::Exec("a hook without its place".into())),
        };
        out.insert(name, Arc::new(call));
    };
    let environment = context.environment.clone();
    let notes = findings.clone();
    add(READ.into(), Box::new(move |site, args| read(site, args, &environment, &notes)));
    let notes = findings.clone();
    add(PRINT.into(), Box::new(move |site, args| print(site, args, &notes)));
    add(UNKNOWN.into(), Box::new(|_, _| nothing()));
    add(NO_DATA.into(), Box::new(|_, _| Go::Nil));
    for (name, function) in functions::all() {
        let notes = findings.clone();
        add(hooked(name), Box::new(move |site, args| call(site, function, args, &notes)));
    }
    out
}

fn nothing() -> Go {
    Go::String("".into())
}

fn is_nothing(value: &Go) -> bool {
    matches!(value, Go::String(s) if s.is_empty())
}

fn call(site: &Site, function: Function, args: &[Go], findings: &Findings) -> Go {
    function(args).unwrap_or_else(|why| {
        if !(findings.any() && args.iter().any(is_nothing)) {
            findings.note(Problem::new(site.offset, format!("`{}`: {why}", site.written)));
        }
        nothing()
    })
}

fn read(site: &Site, args: &[Go], environment: &str, findings: &Findings) -> Go {
    let mut value = args.first().cloned().unwrap_or(Go::Nil);
    for (i, key) in site.keys.iter().enumerate() {
        let next = match &value {
            Go::Map(map) => map.get(key.as_str()).cloned(),
            Go::Nil => None,
            // The consequence of what was noted already.
            other if is_nothing(other) && findings.any() => return nothing(),
            other => {
                let what = format!("`{}`: there is no `{key}` in {}", site.written, article(other));
                findings.note(Problem::new(site.offset, what));
                return nothing();
            }
        };
        match next {
            Some(next) => value = next,
            None if site.forgiving => return Go::Nil,
            None => {
                findings.note(missing(site, i, &value, environment));
                return if site.in_range { Go::Nil } else { nothing() };
            }
        }
    }
    value
}

fn missing(site: &Site, at: usize, parent: &Go, environment: &str) -> Problem {
    let key = &site.keys[at];
    let written = &site.written;
    let before: Vec<&str> = site.keys[..at].iter().map(String::as_str).collect();
    let problem = Problem::new(site.offset, format!("nothing is known as `{written}`: `{key}` is missing"));
    let known: Vec<&str> = match parent {
        Go::Map(map) => map.keys().map(|k| &**k).collect(),
        _ if at == 0 && !written.starts_with(['$', '(']) => {
            return problem.help("this template was called without data: write `{{ template \"…\" . }}`");
        }
        _ => return problem.help(format!("`{}` has no value", before.last().copied().unwrap_or("."))),
    };
    let near = functions::nearest(key, known.iter().copied());
    let there = match known.len() {
        0 => "there are none".to_owned(),
        1..=8 => format!("there are {}", known.join(", ")),
        n => format!("there are {}, … ({n} in all)", known[..8].join(", ")),
    };
    problem.help(match (&before[..], near) {
        (_, Some(near)) => format!("did you mean `{near}`?"),
        (["Values", ..], None) => {
            format!("give environment {environment:?} the value, or write `{{{{ {written} | default … }}}}` ({there})")
        }
        (["AppStack", "image"], None) => format!("choose an image named `{key}` for this release ({there})"),
        (["AppStack"], None) => "AppStack has appName, envName, namespace and image.<name>".into(),
        ([], None) if parent_is_root(&known) => "a template knows .AppStack and .Values".into(),
        _ => there,
    })
}

fn parent_is_root(known: &[&str]) -> bool {
    known.contains(&"AppStack") && known.contains(&"Values")
}

fn print(site: &Site, args: &[Go], findings: &Findings) -> Go {
    let value = args.last().cloned().unwrap_or(Go::Nil);
    let written = &site.written;
    let problem = match &value {
        Go::Nil => Problem::new(site.offset, format!("`{written}` has no value to print"))
            .help("give it one, or write `default …` behind it"),
        Go::Map(_) | Go::List(_) | Go::Function(_) => {
            Problem::new(site.offset, format!("`{written}` is {}, Go would print it as no YAML", article(&value)))
                .help(format!("write `{{{{ {written} | toJson }}}}`, or `toYaml` with `nindent`"))
        }
        Go::String(s) if NOTHING.iter().any(|nothing| s.contains(nothing)) => {
            Problem::new(site.offset, format!("`{written}` prints a value that is not there"))
        }
        Go::String(s) if s.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) => {
            Problem::new(site.offset, format!("`{written}` holds a control character: YAML allows none"))
        }
        Go::Float(f) if !f.is_finite() => Problem::new(site.offset, format!("`{written}` is no number")),
        _ => return value,
    };
    findings.note(problem);
    nothing()
}

fn article(value: &Go) -> &'static str {
    match value {
        Go::Nil => "nothing",
        Go::Bool(_) => "a boolean",
        Go::Int(_) | Go::Uint(_) | Go::Float(_) => "a number",
        Go::String(_) => "a text",
        Go::List(_) => "a list",
        Go::Map(_) => "a map",
        Go::Function(_) => "a function",
    }
}
