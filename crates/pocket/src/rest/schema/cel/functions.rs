//! Signatures of the CEL functions, from the table in `functions.txt`.

use std::sync::LazyLock;

use super::types::CelType;

static TABLE: &str = include_str!("functions.txt");

/// One overload of a function.
pub(super) struct Overload {
    pub(super) receiver: Option<CelType>,
    pub(super) name: &'static str,
    pub(super) arguments: Vec<CelType>,
    pub(super) result: CelType,
    /// Whether pocket's CEL library implements it.
    pub(super) evaluated: bool,
    /// An expression that evaluates to true.
    #[cfg(test)]
    pub(super) example: &'static str,
}

static OVERLOADS: LazyLock<Vec<Overload>> =
    LazyLock::new(|| TABLE.lines().filter_map(parse_line).collect());

/// Every overload, in the order of the table.
pub(super) fn all_overloads() -> &'static [Overload] {
    &OVERLOADS
}

/// Whether any overload has this name, as a function or as a method.
pub(super) fn is_declared(name: &str) -> bool {
    OVERLOADS.iter().any(|o| o.name == name)
}

fn parse_line(line: &'static str) -> Option<Overload> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (evaluated, line) = line
        .strip_prefix("~ ")
        .map_or((true, line), |rest| (false, rest));
    let (head, _example) = line.split_once(" = ")?;
    let open = head.find('(')?;
    // The name of the conditional operator contains a colon.
    let (receiver, name) = match head[..open]
        .rsplit_once(':')
        .filter(|_| !head.starts_with('_'))
    {
        Some((receiver, name)) => (Some(CelType::parse_prefix(receiver)?.0), name),
        None => (None, &head[..open]),
    };
    let close = head.rfind(')')?;
    let mut arguments = Vec::new();
    let mut rest = &head[open + 1..close];
    while !rest.is_empty() {
        let (of, left) = CelType::parse_prefix(rest)?;
        arguments.push(of);
        rest = left.strip_prefix(',').unwrap_or(left);
    }
    let (result, _) = CelType::parse_prefix(&head[close + 1..])?;
    Some(Overload {
        receiver,
        name,
        arguments,
        result,
        evaluated,
        #[cfg(test)]
        example: _example,
    })
}

#[cfg(test)]
mod tests {
    use kube_cel::{KubeCelExt, cel};

    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines = TABLE
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'));
        let unread: Vec<&str> = lines.filter(|l| parse_line(l).is_none()).collect();
        assert_eq!(unread, [""; 0]);
    }

    /// The library evaluates exactly what the table marks as evaluated, so the two cannot drift
    /// apart.
    #[test]
    fn the_library_evaluates_what_the_table_says() {
        let context = cel::Context::default().with_all();
        let evaluate = |example: &str| -> Result<bool, String> {
            let program = cel::Program::compile(example).map_err(|e| e.to_string())?;
            match program.execute(&context) {
                Ok(cel::Value::Bool(held)) => Ok(held),
                other => Err(format!("{other:?}")),
            }
        };
        let wrong: Vec<String> = all_overloads()
            .iter()
            .map(|o| (o.evaluated, o.example, evaluate(o.example)))
            .filter(|(evaluated, _, got)| *evaluated != (*got == Ok(true)))
            .map(|(evaluated, example, got)| {
                format!("{example}: evaluated {evaluated}, got {got:?}")
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
