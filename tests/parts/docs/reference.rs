//! The pages that are made from the program: the command line from clap, the resources from their schemas.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};
use graylane::{api::crd_definitions, cli::Cli};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::generated::check_generated;

/// Text in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
        .replace('<', "\\<")
        .replace('*', "\\*")
}

/// Code in a cell.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

#[test]
fn the_page_on_the_command_line_is_what_clap_knows() {
    let mut root = Cli::command();
    root.build();
    let mut page = "## Every command\n".to_owned();
    for command in visible(&root) {
        write_command(&mut page, command);
    }
    page.push_str("\n## Options of every command\n");
    let globals: Vec<&Arg> = root
        .get_arguments()
        .filter(|a| a.is_global_set() && !a.is_hide_set())
        .collect();
    let mut headings: Vec<&str> = globals
        .iter()
        .filter_map(|a| a.get_help_heading())
        .collect();
    headings.dedup();
    for heading in headings {
        _ = writeln!(page, "\n### {heading}\n");
        let own = globals
            .iter()
            .filter(|a| a.get_help_heading() == Some(heading));
        write_arguments(&mut page, own.copied());
    }
    check_generated("docs/command-line.md", &page);
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let mut all: Vec<&Command> = command
        .get_subcommands()
        .filter(|c| !c.is_hide_set() && c.get_name() != "help")
        .collect();
    all.sort_by_key(|c| c.get_name());
    all.into_iter()
}

fn write_command(page: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
    _ = writeln!(page, "\n### {name}\n\n{about}.");
    let subcommands: Vec<&Command> = visible(command).collect();
    if subcommands.is_empty() {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ");
        _ = writeln!(page, "\n    {usage}\n");
        let own = command
            .get_arguments()
            .filter(|a| !a.is_global_set() && !a.is_hide_set() && a.get_id() != "help");
        write_arguments(page, own);
    }
    for sub in subcommands {
        write_command(page, sub);
    }
}

fn write_arguments<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let mut rows = vec![];
    for arg in arguments {
        let help = arg.get_long_help().or(arg.get_help());
        let mut text = cell(&help.map(ToString::to_string).unwrap_or_default());
        let defaults: Vec<String> = arg
            .get_default_values()
            .iter()
            .map(|v| v.to_string_lossy().into_owned())
            .collect();
        let is_flag = !arg.get_action().takes_values();
        if defaults.iter().any(|d| !d.is_empty()) && !is_flag {
            _ = write!(text, " [default: {}]", cell(&defaults.join(" ")));
        }
        let possible: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|v| !v.is_hide_set())
            .map(|v| v.get_name().to_owned())
            .collect();
        if !possible.is_empty() && !is_flag {
            _ = write!(text, " [{}]", possible.join(", "));
        }
        let short = arg.get_short().map(|s| format!("-{s}, "));
        let name = format!(
            "{}{arg}",
            short
                .filter(|_| arg.get_long().is_some())
                .unwrap_or_default()
        );
        rows.push(format!("| {} | {} |", code(&name), text.trim()));
    }
    if !rows.is_empty() {
        _ = writeln!(page, "| | |\n|---|---|\n{}", rows.join("\n"));
    }
}

#[test]
fn the_page_on_resources_is_what_their_schemas_say() {
    let mut page = String::new();
    for definition in crd_definitions() {
        write_kind(&mut page, &definition);
    }
    check_generated("docs/resources.md", &page);
}

fn write_kind(page: &mut String, definition: &CustomResourceDefinition) {
    let names = &definition.spec.names;
    let schema = definition.spec.versions[0].schema.as_ref();
    let schema = schema.and_then(|s| s.open_api_v3_schema.as_ref()).unwrap();
    _ = writeln!(page, "## {}\n", names.kind);
    let about = schema
        .properties
        .as_ref()
        .and_then(|p| p["spec"].description.clone());
    if let Some(about) = about {
        _ = writeln!(page, "{}\n", sentence(&about));
    }
    let short = names.short_names.clone().unwrap_or_default();
    let short: Vec<String> = short.iter().map(|s| format!(", `{s}`")).collect();
    _ = writeln!(page, "`kubectl get {}`{}\n", names.plural, short.concat());
    for part in ["spec", "status"] {
        let Some(props) = schema.properties.as_ref().and_then(|p| p.get(part)) else {
            continue;
        };
        let mut rows = vec![];
        collect_fields(props, part, &mut rows);
        if !rows.is_empty() {
            let rows = rows.join("\n");
            _ = writeln!(page, "| field | type | meaning |\n|---|---|---|\n{rows}\n");
        }
        let rules = rules_of(props);
        if !rules.is_empty() && names.kind != "AppTemplate" {
            _ = writeln!(
                page,
                "What the server refuses in `{part}`, with these words:\n"
            );
            for rule in rules {
                _ = writeln!(page, "* {rule}");
            }
            page.push('\n');
        }
    }
}

fn sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.ends_with(['.', ':', '!', '?']) || text.is_empty() {
        text
    } else {
        format!("{text}.")
    }
}

/// One row for each field, with those within it.
fn collect_fields(schema: &JSONSchemaProps, path: &str, rows: &mut Vec<String>) {
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        return collect_fields(item, &format!("{path}[]"), rows);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        return collect_fields(value, &format!("{path}.*"), rows);
    }
    let required = schema.required.clone().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let own = format!("{path}.{name}");
        if own == "spec.app" && field.properties.is_some() {
            // Of an AppTemplate: the same once more would be half of the page.
            let words = "All that the spec of an [App](#app) has.";
            rows.push(format!("| {} | object, required | {words} |", code(&own)));
            continue;
        }
        let mut meaning = cell(&sentence(field.description.as_deref().unwrap_or_default()));
        for bound in bounds(field) {
            _ = write!(meaning, " {}.", cell(&bound));
        }
        let must = if required.contains(name) {
            ", required"
        } else {
            ""
        };
        rows.push(format!(
            "| {} | {}{must} | {} |",
            code(&own),
            type_of(field),
            meaning.trim()
        ));
        collect_fields(field, &own, rows);
    }
}

fn type_of(schema: &JSONSchemaProps) -> String {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return "integer or string".into();
    }
    match (&schema.items, &schema.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(item)), _) => format!("list of {}", type_of(item)),
        (_, Some(JSONSchemaPropsOrBool::Schema(value))) => format!("map of {}", type_of(value)),
        _ => schema.type_.clone().unwrap_or_else(|| "any".into()),
    }
}

/// What the server checks of a value, in words.
fn bounds(schema: &JSONSchemaProps) -> Vec<String> {
    let mut told = vec![];
    if let Some(values) = &schema.enum_ {
        let values = values
            .iter()
            .filter(|v| !v.0.is_null())
            .map(|v| v.0.to_string());
        told.push(format!("One of {}", values.collect::<Vec<_>>().join(", ")));
    }
    match (schema.minimum, schema.maximum) {
        (Some(least), Some(most)) => told.push(format!("{least} to {most}")),
        (Some(least), None) => told.push(format!("At least {least}")),
        (None, Some(most)) => told.push(format!("At most {most}")),
        (None, None) => {}
    }
    if let Some(most) = schema.max_length {
        told.push(format!("At most {most} characters"));
    }
    if let Some(most) = schema.max_items {
        told.push(format!("At most {most} entries"));
    }
    if let Some(most) = schema.max_properties {
        told.push(format!("At most {most} keys"));
    }
    if let Some(default) = &schema.default {
        told.push(format!("Default: {}", default.0));
    }
    told
}

/// The messages of the rules in CEL, each once.
fn rules_of(schema: &JSONSchemaProps) -> Vec<String> {
    let mut found = vec![];
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        found.extend(rule.message.clone());
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        found.extend(rules_of(item));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        found.extend(rules_of(value));
    }
    for field in schema.properties.iter().flat_map(|p| p.values()) {
        found.extend(rules_of(field));
    }
    let mut once: Vec<String> = vec![];
    for rule in found {
        if !once.contains(&rule) {
            once.push(rule);
        }
    }
    once
}
