//! The result of one request of a probe, as `graylane probe -o json` prints it.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::send::Answer;
use crate::{
    api::{LaneGroup, ProbeSpec, Served},
    domain::{
        chain::{Chain, ChainStep, Verdict, expected_side},
        diff,
        world::World,
    },
};

/// The overall verdict of a request. A fallback that the lane promises is `ok`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeVerdict {
    /// The expected versions answered.
    #[default]
    Ok,
    /// No response, or an error status.
    Failed,
    /// Other versions than the probe expects answered.
    Unexpected,
    /// Answered, but it is not known by which services.
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

impl ProbeVerdict {
    /// The text that is shown and serialized.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Unexpected => "unexpected",
            Self::NoData => Verdict::NoData.as_str(),
            Self::Lost => Verdict::Lost.as_str(),
            Self::LeakUp => Verdict::LeakUp.as_str(),
            Self::LeakDown => Verdict::LeakDown.as_str(),
        }
    }
}

impl fmt::Display for ProbeVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request of a probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probed {
    /// Path as requested.
    pub path: String,
    /// Trace id.
    pub trace: String,
    /// Status of the response; `None` without one.
    pub status: Option<u16>,
    /// Milliseconds until the end of the response.
    pub latency_ms: f64,
    /// Printable text, at most 64 KiB.
    pub body: String,
    /// The body was longer than that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub body_cut: bool,
    /// Tag set at the entry; `None` for the baseline.
    pub lane: Option<String>,
    /// The services that answered, in calling order.
    pub chain: Vec<ProbedHop>,
    /// The expected side of each app.
    pub expected: BTreeMap<String, Served>,
    /// Overall verdict.
    pub verdict: ProbeVerdict,
    /// What is wrong, for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Chains for the trace pane.
    #[serde(skip)]
    pub chains: Vec<Chain>,
    /// The response as received, for comparing; `None` if there was none or it broke off.
    #[serde(skip)]
    pub raw: Option<diff::Answer>,
}

/// One service that answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProbedHop {
    /// Name of the app.
    pub app: String,
    /// Side that answered; `None` if not known.
    pub served: Option<Served>,
    /// Lane tag of the pod.
    pub tag: Option<String>,
    /// Address of the pod.
    pub address: Option<String>,
    /// Name of the pod.
    pub pod: Option<String>,
    /// Verdict of this hop.
    pub verdict: Verdict,
    /// Cause of the verdict, unless it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl From<&ChainStep> for ProbedHop {
    fn from(step: &ChainStep) -> Self {
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
    pub(super) fn from_answer(path: &str, answer: &Answer) -> Self {
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

    /// Whether the verdict is ok.
    pub fn is_ok(&self) -> bool {
        self.verdict == ProbeVerdict::Ok
    }

    /// Cells for people: status, latency in milliseconds, lane, verdict, and the chain as
    /// `spring-cloud-a=gray[127.64.16.5] -> spring-cloud-b=base[127.64.16.2]`.
    pub fn table_cells(&self) -> [String; 5] {
        let hops = self.chain.iter().map(|hop| {
            let side = hop.served.map_or("?", Served::as_str);
            let address = hop
                .address
                .as_ref()
                .map(|a| format!("[{a}]"))
                .unwrap_or_default();
            format!("{}={side}{address}", hop.app)
        });
        [
            self.status.map_or_else(String::new, |s| s.to_string()),
            format!("{:.1}", self.latency_ms),
            self.lane.clone().unwrap_or_default(),
            self.verdict.to_string(),
            hops.collect::<Vec<_>>().join(" -> "),
        ]
    }

    /// Judges the chains. `own` says how the probe itself lets the tag be removed, in which case no
    /// service has lost it.
    pub(super) fn judge(
        &mut self,
        spec: &ProbeSpec,
        group: &LaneGroup,
        mut chains: Vec<Chain>,
        world: &World,
        own: Option<&str>,
    ) {
        if let Some(own) = own {
            excuse_lost(&mut chains, own);
        }
        self.lane = chains.first().and_then(|c| c.tag.clone());
        self.chain = chains
            .iter()
            .flat_map(|c| &c.steps)
            .map(ProbedHop::from)
            .collect();
        self.expected = self.expected_sides(spec, group, &chains, world);
        let worst = chains.iter().max_by_key(|c| c.worst);
        self.add_step_problems(&chains);
        let unexpected = self.add_unexpected(spec, &chains);
        let failed = self.status.is_none_or(|s| !(200..400).contains(&s))
            || !self.problems.is_empty() && chains.is_empty();
        if let (Some(status), true) = (self.status, failed) {
            self.problems.push(format!(
                "status {status}: {}",
                self.body.lines().next().unwrap_or_default()
            ));
        }
        self.verdict = match worst.map(|c| c.worst) {
            _ if failed => ProbeVerdict::Failed,
            Some(Verdict::LeakDown) => ProbeVerdict::LeakDown,
            Some(Verdict::LeakUp) => ProbeVerdict::LeakUp,
            Some(Verdict::Lost) => ProbeVerdict::Lost,
            _ if unexpected => ProbeVerdict::Unexpected,
            None => {
                self.problems
                    .push("no source reported which services answered".into());
                ProbeVerdict::NoData
            }
            Some(Verdict::NoData) => ProbeVerdict::NoData,
            Some(Verdict::Ok | Verdict::FellBack) => ProbeVerdict::Ok,
        };
        self.chains = chains;
    }

    fn expected_sides(
        &self,
        spec: &ProbeSpec,
        group: &LaneGroup,
        chains: &[Chain],
        world: &World,
    ) -> BTreeMap<String, Served> {
        if !spec.expect.is_empty() {
            return spec.expect.clone();
        }
        let name = group.metadata.name.as_deref();
        let promised = |s: &ChainStep| {
            (
                s.app.clone(),
                expected_side(name, &s.app, self.lane.as_deref(), world).served,
            )
        };
        list_steps(chains)
            .filter(|s| !s.app.is_empty())
            .map(promised)
            .collect()
    }

    fn add_step_problems(&mut self, chains: &[Chain]) {
        for step in
            list_steps(chains).filter(|s| s.verdict.is_bad() || s.verdict == Verdict::NoData)
        {
            self.problems.push(format!(
                "{}: {}: {}",
                step.app,
                step.verdict,
                step.cause.as_deref().unwrap_or_default()
            ));
        }
    }

    /// Adds what was expected and did not happen; returns whether there is anything.
    fn add_unexpected(&mut self, spec: &ProbeSpec, chains: &[Chain]) -> bool {
        let mut unexpected = false;
        for (app, want) in &spec.expect {
            let seen: Vec<&ChainStep> = list_steps(chains).filter(|s| s.app == *app).collect();
            let wrong = seen.iter().find(|s| s.served != Some(*want));
            if let Some(step) = wrong {
                let by = step.served.map_or("nobody", Served::as_str);
                self.problems.push(format!(
                    "{app}: expected {}, answered by {by}",
                    want.as_str()
                ));
            } else if seen.is_empty() {
                self.problems.push(format!(
                    "{app}: expected {}, not asked at all",
                    want.as_str()
                ));
            }
            unexpected |= wrong.is_some() || seen.is_empty();
        }
        unexpected
    }
}

fn list_steps(chains: &[Chain]) -> impl Iterator<Item = &ChainStep> {
    chains.iter().flat_map(|c| &c.steps)
}

/// The probe itself lets the tag be removed, so no service has lost it.
fn excuse_lost(chains: &mut [Chain], own: &str) {
    let lost = |s: &&mut ChainStep| s.verdict == Verdict::Lost;
    for step in chains.iter_mut().flat_map(|c| &mut c.steps).filter(lost) {
        (step.verdict, step.cause) = (Verdict::NoData, Some(own.to_owned()));
    }
    for chain in chains {
        chain.worst = chain
            .steps
            .iter()
            .map(|s| s.verdict)
            .max()
            .unwrap_or_default();
    }
}
