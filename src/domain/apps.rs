//! Checks of an App's spec that a schema cannot express, and creation of Apps from an AppTemplate.

mod difference;
mod make;
mod setting;
mod stages;
#[cfg(test)]
mod tests;

pub use difference::{Comparison, FieldChange, compare_with_template};
pub use make::{ExistingObjects, make_apps, recorded_settings, template_name};
pub use setting::{Setting, SettingError, SettingProblem};
pub use stages::offered_stages;

use super::template;
use crate::api::{AppSpec, TaskSpec};

/// Problems in an App's spec that its schema cannot detect: unknown names, tasks without exactly
/// one kind. Each with its path in the spec.
pub fn find_problems(spec: &AppSpec) -> Vec<(String, String)> {
    let mut problems = vec![];
    let mut tell = |path: String, why: String| problems.push((path, why));
    for (n, manifest) in spec.manifests.iter().enumerate() {
        if let Err(why) = template::find_placeholders(&manifest.name, &manifest.template) {
            tell(format!("manifests[{n}].template"), why.to_string());
        }
    }
    for (n, environment) in spec.environments.iter().enumerate() {
        if spec.environments[..n]
            .iter()
            .any(|e| e.name == environment.name)
        {
            tell(
                format!("environments[{n}].name"),
                format!("environment {} is there twice", environment.name),
            );
        }
    }
    for (s, stage) in spec.workflow.stages.iter().enumerate() {
        for (t, task) in stage.tasks.iter().enumerate() {
            let path = format!("workflow.stages[{s}].tasks[{t}]");
            if stage.tasks[..t].iter().any(|o| o.name == task.name) {
                tell(
                    path.clone(),
                    format!("task {} is twice in stage {}", task.name, stage.name),
                );
            }
            let environment = match task.spec() {
                None => {
                    let kinds = "build, approval, deploy, verify, proceed, cleanUp";
                    tell(
                        path,
                        format!("task {} needs exactly one of {kinds}", task.name),
                    );
                    continue;
                }
                Some(TaskSpec::Deploy(d)) => Some(&d.environment),
                Some(TaskSpec::CleanUp(c)) => Some(&c.environment),
                Some(TaskSpec::Build(b)) => {
                    if !spec.images.contains_key(&b.image) {
                        let why =
                            format!("task {} builds the unknown image {}", task.name, b.image);
                        tell(format!("{path}.build.image"), why);
                    }
                    None
                }
                Some(TaskSpec::Approval(_) | TaskSpec::Verify(_) | TaskSpec::Proceed(_)) => None,
            };
            if let Some(name) = environment.filter(|e| spec.environment(e).is_none()) {
                tell(
                    format!("{path}.environment"),
                    format!("task {} names the unknown environment {name}", task.name),
                );
            }
        }
    }
    problems
}
