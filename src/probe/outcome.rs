//! What came of one request of a probe, as `graylane probe -o json` prints it.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::send::Answer;
use crate::{
    api::{LaneGroup, ProbeSpec, Served},
    domain::{
        chain::{Chain, Step, Verdict, expected},
        diff,
        world::World,
    },
};

/// How a request went, all in all. A fall-back that the lane promises is `ok`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Answered, and by those who ought to.
    #[default]
    Ok,
    /// No answer, or one that is no success.
    Failed,
    /// Answered by others than the probe expects.
    Unexpected,
    /// Answered, but nobody knows by whom.
    #[serde(rename = "no data")]
    NoData,
    /// A service lost the tag.
    Lost,
    /// See [`Verdict::LeakUp`].
    #[serde(rename = "leak up")]
    LeakUp,
    /// See [`Verdict::LeakDown`].
    #[serde(rename = "leak down")]
    LeakDown,
}

impl Outcome {
    /// As shown and written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Unexpected => "unexpected",
            Self::NoData => Verdict::NoData.word(),
            Self::Lost => Verdict::Lost.word(),
            Self::LeakUp => Verdict::LeakUp.word(),
            Self::LeakDown => Verdict::LeakDown.word(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One request of a probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probed {
    /// As asked.
    pub path: String,
    /// Its trace id.
    pub trace: String,
    /// None when there was no answer.
    pub status: Option<u16>,
    /// Milliseconds to the end of the answer.
    pub latency_ms: f64,
    /// Cleaned, at most 64 KiB.
    pub body: String,
    /// There was more of the body.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub body_cut: bool,
    /// Tag that the entry gave; none is the baseline.
    pub lane: Option<String>,
    /// Who answered, in calling order.
    pub chain: Vec<ProbedHop>,
    /// App to the side that ought to answer.
    pub expected: BTreeMap<String, Served>,
    /// All in all.
    pub verdict: Outcome,
    /// In words, what is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// The chains as the trace pane draws them.
    #[serde(skip)]
    pub chains: Vec<Chain>,
    /// For comparing: the answer as it came; none when none came, or broke off.
    #[serde(skip)]
    pub raw: Option<diff::Answer>,
}

/// Who answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProbedHop {
    /// The app.
    pub app: String,
    /// The side; none when nobody did, or nobody told.
    pub served: Option<Served>,
    /// Lane tag of the pod.
    pub tag: Option<String>,
    /// Address of the pod.
    pub address: Option<String>,
    /// Name of the pod.
    pub pod: Option<String>,
    /// How it went.
    pub verdict: Verdict,
    /// Why, unless it went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl From<&Step> for ProbedHop {
    fn from(step: &Step) -> Self {
        Self {
            app: step.app.clone(),
            served: step.served,
            tag: step.pod_tag.clone(),
            address: step.address.clone(),
            pod: step.pod.clone(),
            verdict: step.verdict,
            cause: step.cause.clone(),
        }
    }
}

impl Probed {
    pub(super) fn of(path: &str, answer: &Answer) -> Self {
        Self {
            path: path.into(),
            trace: answer.trace.clone(),
            status: answer.status,
            latency_ms: (answer.latency.as_secs_f64() * 1e6).round() / 1e3,
            body: answer.body.to_string(),
            body_cut: answer.cut,
            problems: answer.error.iter().cloned().collect(),
            raw: answer.raw.clone(),
            ..Self::default()
        }
    }

    /// All is well.
    pub fn is_ok(&self) -> bool {
        self.verdict == Outcome::Ok
    }

    /// `own` says in words what of the tag the probe itself lets be taken away: then no service has lost it.
    pub(super) fn judge(
        &mut self,
        spec: &ProbeSpec,
        group: &LaneGroup,
        mut chains: Vec<Chain>,
        world: &World,
        own: Option<&str>,
    ) {
        let lost = |s: &&mut Step| s.verdict == Verdict::Lost;
        if let Some(own) = own {
            for step in chains.iter_mut().flat_map(|c| &mut c.steps).filter(lost) {
                (step.verdict, step.cause) = (Verdict::NoData, Some(own.to_owned()));
            }
            for chain in &mut chains {
                chain.worst = chain
                    .steps
                    .iter()
                    .map(|s| s.verdict)
                    .max()
                    .unwrap_or_default();
            }
        }
        self.lane = chains.first().and_then(|c| c.tag.clone());
        self.chain = chains
            .iter()
            .flat_map(|c| &c.steps)
            .map(ProbedHop::from)
            .collect();
        let name = group.metadata.name.as_deref();
        let steps = || chains.iter().flat_map(|c| &c.steps);
        self.expected = if spec.expect.is_empty() {
            let promised = |s: &Step| {
                (
                    s.app.clone(),
                    expected(name, &s.app, self.lane.as_deref(), world).served,
                )
            };
            steps()
                .filter(|s| !s.app.is_empty())
                .map(promised)
                .collect()
        } else {
            spec.expect.clone()
        };
        let worst = chains.iter().max_by_key(|c| c.worst);
        for step in steps().filter(|s| s.verdict.is_bad() || s.verdict == Verdict::NoData) {
            self.problems.push(format!(
                "{}: {}: {}",
                step.app,
                step.verdict,
                step.cause.as_deref().unwrap_or_default()
            ));
        }
        let mut unexpected = false;
        for (app, want) in &spec.expect {
            let seen: Vec<&Step> = steps().filter(|s| s.app == *app).collect();
            let wrong = seen.iter().find(|s| s.served != Some(*want));
            if let Some(step) = wrong {
                let by = step.served.map_or("nobody", Served::word);
                self.problems
                    .push(format!("{app}: expected {}, answered by {by}", want.word()));
            } else if seen.is_empty() {
                self.problems
                    .push(format!("{app}: expected {}, not asked at all", want.word()));
            }
            unexpected |= wrong.is_some() || seen.is_empty();
        }
        let failed = self.status.is_none_or(|s| !(200..400).contains(&s))
            || !self.problems.is_empty() && chains.is_empty();
        if let (Some(status), true) = (self.status, failed) {
            self.problems.push(format!(
                "status {status}: {}",
                self.body.lines().next().unwrap_or_default()
            ));
        }
        self.verdict = match worst.map(|c| c.worst) {
            _ if failed => Outcome::Failed,
            Some(Verdict::LeakDown) => Outcome::LeakDown,
            Some(Verdict::LeakUp) => Outcome::LeakUp,
            Some(Verdict::Lost) => Outcome::Lost,
            _ if unexpected => Outcome::Unexpected,
            None => {
                self.problems
                    .push("nobody told which services answered".into());
                Outcome::NoData
            }
            Some(Verdict::NoData) => Outcome::NoData,
            Some(Verdict::Ok | Verdict::FellBack) => Outcome::Ok,
        };
        self.chains = chains;
    }
}
