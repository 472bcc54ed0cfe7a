//! `lane explain 'GET /A/a?group=gray' -H 'k: v' --cookie k=v`: tells which lane a request takes,
//! and why.

use clap::Args;
use color_eyre::eyre::Result;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::{
    api::{
        Lane, LaneGroup,
        gateway_api::{Gateway, HttpRoute},
    },
    cli::{
        objects,
        output::{self, Format, Table},
        session::{Session, usage_error},
    },
    domain::{
        lanes::{self, EntryContext, EntryOutcome, Explanation, LaneChoice},
        request,
    },
};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// 'GET /A/a?group=gray'; a missing method is GET
    request: String,
    /// A header, as 'name: value'; may be repeated
    #[arg(long, short = 'H', value_name = "HEADER")]
    header: Vec<String>,
    /// A cookie, as 'name=value'; may be repeated
    #[arg(long, value_name = "COOKIE")]
    cookie: Vec<String>,
    /// The lane group [default: the only one]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// How to print it
    #[arg(long, short, default_value = "table")]
    output: Format,
}

pub(super) async fn explain_request(session: &Session, args: ExplainArgs) -> Result<()> {
    let parts = request::parse_request(&args.request, &args.header, &args.cookie)
        .map_err(|e| usage_error(e.to_string()))?;
    let group = objects::resolve_group(session, args.group.as_deref()).await?;
    let all: Vec<Lane> = objects::list_objects(session).await?;
    let name = LaneGroup::name_any(&group);
    let routes = list_routes(session).await;
    let api: Api<Gateway> = Api::namespaced(session.client.clone(), &session.namespace);
    let gateway = api.get_opt(&group.spec.entry.gateway).await.ok().flatten();
    let entrance = EntryContext {
        group: &group,
        lanes: &all,
        routes: routes.as_deref(),
        gateway: gateway.as_ref(),
    };
    let explained = lanes::explain_request(&entrance, &parts);
    output::print(&match args.output {
        Format::Json | Format::Yaml => {
            output::format_value(&to_json(&name, &explained), args.output)?
        }
        Format::Name => explained
            .outcome
            .as_forwarded()
            .and_then(|t| t.lane.clone())
            .unwrap_or_default(),
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["LANE", "ASKS", "SAW", "HOLDS"]);
            for reason in &explained.reasons {
                let holds = reason
                    .held
                    .map_or("by chance", |held| if held { "yes" } else { "no" });
                let saw = reason.saw.clone().unwrap_or_else(|| "(nothing)".into());
                table.add_row([
                    reason.lane.clone(),
                    reason.condition.clone(),
                    saw,
                    holds.into(),
                ]);
            }
            let words = explained.outcome.describe_outcome(&name);
            let mut text = format!("T{}.\n", words.strip_prefix('t').unwrap_or(&words));
            for assumed in &explained.assumed {
                text.push_str(&format!(
                    "Asked with {assumed}, as the request names none.\n"
                ));
            }
            if table.is_empty() {
                text
            } else {
                format!("{text}\n{}", table.render())
            }
        }
    })
}

/// All HTTPRoutes. `None` if the user may not read them: then the routes are assumed to be as
/// planned.
async fn list_routes(session: &Session) -> Option<Vec<HttpRoute>> {
    let api: Api<HttpRoute> = Api::all(session.client.clone());
    let own: Api<HttpRoute> = Api::namespaced(session.client.clone(), &session.namespace);
    let listed = match api.list(&ListParams::default()).await {
        Ok(listed) => Ok(listed),
        Err(_) => own.list(&ListParams::default()).await,
    };
    listed.ok().map(|l| l.items)
}

fn to_json(group: &str, explained: &Explanation) -> Value {
    let taken = explained.outcome.as_forwarded();
    let reasons = explained
        .reasons
        .iter()
        .map(|r| json!({"lane": r.lane, "place": r.place, "condition": r.condition, "saw": r.saw, "held": r.held}));
    let mut value = json!({
        "group": group,
        "lane": taken.and_then(|t| t.lane.clone()),
        "tag": taken.and_then(|t| t.tag.clone()),
        "outcome": explained.outcome.describe_outcome(group),
        "assumed": explained.assumed,
        "reasons": reasons.collect::<Vec<_>>(),
    });
    match &explained.outcome {
        EntryOutcome::Refused(refused) => value["status"] = json!(refused.status.as_u16()),
        EntryOutcome::OtherRoute(route) => value["route"] = json!(route),
        EntryOutcome::Random(ways) => {
            let way = |(share, t): &(u32, LaneChoice)| json!({"percent": f64::from(*share) / 100.0, "lane": t.lane, "tag": t.tag});
            value["drawn"] = ways.iter().map(way).collect();
        }
        EntryOutcome::Forwarded(_) => {}
    }
    value
}
