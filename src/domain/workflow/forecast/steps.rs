//! What is foretold of a release: its steps, and where it stops.

/// One step of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForecastStep {
    /// Builds an image.
    Build {
        /// Name of the task.
        task: String,
        /// Name of the image.
        image: String,
    },
    /// Uses an existing image instead of building it.
    UseImage {
        /// Name of the task.
        task: String,
        /// Reference of the image.
        image: String,
    },
    /// Waits for another release to be over.
    Wait {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
        /// Name of that release.
        holder: String,
    },
    /// Moves pods of one or several batches.
    Batch {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
        /// First and last batch, from 1: one batch, or all that are left when the strategy has no
        /// batches.
        numbers: (u32, u32),
        /// Number of batches.
        of: u32,
        /// New pods before and after.
        pods: (u32, u32),
        /// Number of all pods.
        size: u32,
    },
    /// Deploys what already runs there: no pod moves.
    Unchanged {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
    },
    /// Sends probes until all pass.
    Verify {
        /// Name of the task.
        task: String,
        /// Lane group whose entry receives them.
        group: String,
        /// Number of probes.
        probes: usize,
    },
    /// Tears down an environment.
    TakeDown {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
        /// Also removes the environment from the App.
        removes: bool,
    },
    /// Skips a task.
    Skip {
        /// Name of the task.
        task: String,
    },
}

/// Where the release stops next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForecastStop {
    /// Waits for approvals.
    Approval {
        /// Name of the task.
        task: String,
        /// Approvals given.
        given: usize,
        /// Approvals needed.
        needed: usize,
        /// Whose decisions do not count, and why.
        passed_over: Vec<String>,
    },
    /// Waits for somebody to say that it may go on.
    Proceed {
        /// Name of the task.
        task: String,
        /// What to check first.
        prompt: Option<String>,
    },
    /// Waits for the next batch to be allowed.
    Batch {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
        /// Number of the batch, from 1.
        number: u32,
        /// Number of batches.
        of: u32,
    },
    /// The environment is locked.
    Locked {
        /// Name of the task.
        task: String,
        /// Name of the environment.
        environment: String,
    },
    /// A task has failed, or will fail.
    Failed {
        /// Name of the task.
        task: String,
        /// Reason, where it is known.
        why: String,
    },
    /// Somebody paused the release.
    Held,
    /// It has finished.
    End,
}

/// Next steps of a release, and where it stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Steps until then, in order.
    pub steps: Vec<ForecastStep>,
    /// Where it stops.
    pub stop: ForecastStop,
}

impl ForecastStep {
    /// Environment whose pods the step moves or removes.
    pub fn environment(&self) -> Option<&str> {
        match self {
            Self::Batch { environment, .. } | Self::TakeDown { environment, .. } => {
                Some(environment)
            }
            _ => None,
        }
    }
}

impl Forecast {
    /// Whether pods of an environment move or are removed.
    pub fn moves_pods_of(&self, environment: &str) -> bool {
        self.steps
            .iter()
            .any(|d| d.environment() == Some(environment))
    }

    /// Environments that get new pods, in order.
    pub fn deployed_environments(&self) -> Vec<&str> {
        let mut all: Vec<&str> = vec![];
        for step in &self.steps {
            if let ForecastStep::Batch { environment, .. } = step
                && !all.contains(&environment.as_str())
            {
                all.push(environment);
            }
        }
        all
    }
}
