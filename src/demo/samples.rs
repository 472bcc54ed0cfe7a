//! The files of `samples/`, embedded in the program.

use serde_json::Value;

/// One file of the sample workspace.
pub struct Sample {
    /// Its name in `samples/`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// All files, in the order of creation.
pub const SAMPLES: [Sample; 7] = [
    Sample {
        name: "namespaces.yaml",
        text: include_str!("../../samples/namespaces.yaml"),
    },
    Sample {
        name: "gateway.yaml",
        text: include_str!("../../samples/gateway.yaml"),
    },
    Sample {
        name: "spring-cloud-a.yaml",
        text: include_str!("../../samples/spring-cloud-a.yaml"),
    },
    Sample {
        name: "spring-cloud-b.yaml",
        text: include_str!("../../samples/spring-cloud-b.yaml"),
    },
    Sample {
        name: "spring-cloud-c.yaml",
        text: include_str!("../../samples/spring-cloud-c.yaml"),
    },
    Sample {
        name: "lanes.yaml",
        text: include_str!("../../samples/lanes.yaml"),
    },
    Sample {
        name: "templates.yaml",
        text: include_str!("../../samples/templates.yaml"),
    },
];

/// The load, created once the services run.
pub const TRAFFIC: Sample = Sample {
    name: "traffic.yaml",
    text: include_str!("../../samples/traffic.yaml"),
};

impl Sample {
    /// Its objects.
    ///
    /// # Panics
    /// If the file is invalid; tests read them all.
    pub fn parse_objects(&self) -> Vec<Value> {
        let documents =
            kube_yaml::read_objects(self.name, self.text).expect("tests read every sample");
        documents.into_iter().map(|d| d.value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{App, AppTemplate, Lane, LaneGroup, TaskSpec, VariableGroup},
        domain::{
            apps::{ExistingObjects, make_apps},
            lanes::LaneCheck,
        },
    };

    fn all<T: serde::de::DeserializeOwned>(kind: &str) -> Vec<T> {
        let objects = SAMPLES
            .iter()
            .flat_map(Sample::parse_objects)
            .filter(|o| o["kind"] == kind);
        objects
            .map(|o| serde_json::from_value(o).unwrap())
            .collect()
    }

    #[test]
    fn every_file_holds_objects_of_the_demo() {
        for sample in SAMPLES.iter().chain([&TRAFFIC]) {
            assert!(!sample.parse_objects().is_empty(), "{}", sample.name);
        }
        assert_eq!(
            TRAFFIC.parse_objects()[0]["metadata"]["namespace"],
            super::super::seed::NAMESPACE
        );
    }

    #[test]
    fn apps_can_be_made_from_every_template() {
        let groups: Vec<VariableGroup> = all("VariableGroup");
        let (apps, templates): (Vec<App>, Vec<AppTemplate>) = (all("App"), all("AppTemplate"));
        let around = ExistingObjects {
            apps: apps.iter().collect(),
            groups: groups
                .iter()
                .map(|g| (g.metadata.name.as_deref().unwrap(), g))
                .collect(),
        };
        assert!(!templates.is_empty());
        for template in templates {
            let made = make_apps(
                &template,
                &["spring-cloud-d".into(), "spring-cloud-e".into()],
                &[],
                &around,
            );
            assert_eq!(made.map(|made| made.len()), Ok(2));
        }
    }

    #[test]
    fn every_app_has_the_environments_of_the_story_and_only_tasks_that_name_them() {
        let apps: Vec<App> = all("App");
        assert_eq!(apps.len(), 3);
        for app in apps {
            let names: Vec<&str> = app
                .spec
                .environments
                .iter()
                .map(|e| e.name.as_str())
                .collect();
            assert_eq!(names, ["test", "pre", "gray", "prod"]);
            assert_eq!(app.spec.environment_of_lane("gray").unwrap().name, "gray");
            for task in app.spec.workflow.stages.iter().flat_map(|s| &s.tasks) {
                let environment = match task.spec().expect("one kind") {
                    TaskSpec::Deploy(d) => &d.environment,
                    TaskSpec::CleanUp(c) => &c.environment,
                    TaskSpec::Build(b) => {
                        assert!(app.spec.images.contains_key(&b.image));
                        continue;
                    }
                    _ => continue,
                };
                assert!(
                    app.spec.environment(environment).is_some(),
                    "{}: {environment}",
                    task.name
                );
            }
        }
    }

    #[test]
    fn the_lane_has_no_problems() {
        let groups: Vec<LaneGroup> = all("LaneGroup");
        let found: Vec<Lane> = all("Lane");
        assert_eq!(
            LaneCheck::without_apps("mse-demo", groups.first()).find_problems(&found),
            []
        );
    }
}
