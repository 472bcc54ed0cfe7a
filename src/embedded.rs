//! The embedded cluster as graylane uses it: a [`pocket`] with graylane's namespace, its lane gateway,
//! and what its service accounts may do.

use std::{net::IpAddr, path::Path, time::Duration};

use futures::FutureExt;
use pocket::{
    component::{Component, ComponentContext},
    images::{HostProgram, ImageCommands, ImageError, Images},
    memory_log::MemoryLog,
    rest::{AccountLimits, ApiOptions, ApiServer},
    run::{Pocket, PocketError, Settings},
    store::StoreError,
};

use crate::{
    api::{GROUP, label},
    cluster::trace::{GATEWAY_NAMESPACE, GATEWAY_POD},
    domain::hop::Hop,
    gateway,
};

/// What the API of the embedded cluster has beside Kubernetes' own.
pub const API: ApiOptions = ApiOptions {
    namespaces: &[GATEWAY_NAMESPACE],
    limits: AccountLimits {
        closed_groups: &[GROUP],
        // For owner references of routes.
        open_subresources: &[("lanegroups", "finalizers")],
    },
};

/// How images name this program.
pub const HOST: HostProgram = HostProgram {
    placeholder: "$GRAYLANE",
    commands: Some(ImageCommands {
        list: "graylane pocket images",
        build: "graylane pocket build FOLDER --tag NAME:TAG",
    }),
};

/// Opens the API of a state folder, without controllers.
pub fn open_api(state: &Path) -> Result<ApiServer, StartError> {
    ApiServer::open_with(state, API).map_err(|cause| StartError {
        cause: cause.into(),
    })
}

/// Opens the images of a state folder.
pub fn open_images(state: &Path) -> Result<Images, ImageError> {
    Images::open_for(state, HOST)
}

/// Why the embedded cluster cannot start, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{cause}{}", advise_user(cause))]
pub struct StartError {
    cause: PocketError,
}

impl StartError {
    /// Whether another process runs the pocket of this state folder; the caller can attach to it.
    pub fn is_running_elsewhere(&self) -> bool {
        self.cause.is_running_elsewhere()
    }
}

/// What a user can do about an error, in words that follow it.
fn advise_user(error: &PocketError) -> &'static str {
    let PocketError::Store(error) = error else {
        return "";
    };
    match error {
        StoreError::ReadOnly { .. } => "; choose another folder with --state",
        StoreError::Full { .. } => "; free some, or choose another folder with --state",
        StoreError::Damaged { .. } => "; move it away, or start over with --reset",
        StoreError::Version { .. } => "; start over with --reset",
        StoreError::Locked { .. } | StoreError::Io { .. } => "",
    }
}

/// Starts the embedded cluster of an existing state folder. `back_off` is that of restarts: the
/// wait after the second crash in a row, and the maximum.
pub async fn start(
    state: &Path,
    back_off: Option<(Duration, Duration)>,
) -> Result<Pocket, StartError> {
    let defaults = Settings::default();
    let settings = Settings {
        api: API,
        host: HOST,
        components: vec![lane_gateway(&MemoryLog::default())],
        back_off: back_off.unwrap_or(defaults.back_off),
    };
    Pocket::start(state, settings)
        .await
        .map_err(|cause| StartError { cause })
}

/// The lane gateway. Its log has a line of JSON for each hop, so that `kubectl logs -f` and the
/// cockpit read the same.
pub fn lane_gateway(log: &MemoryLog) -> Component {
    let (log, hops) = (log.clone(), log.clone());
    Component {
        namespace: GATEWAY_NAMESPACE,
        name: GATEWAY_POD,
        labels: &[(label::COMPONENT, GATEWAY_POD)],
        image: "graylane",
        log,
        run: Box::new(|context: ComponentContext| {
            let node = IpAddr::from(context.node_address);
            async move {
                gateway::run_gateway(
                    context.client,
                    node,
                    move |hop| write_hop(&hops, hop),
                    context.stop,
                )
                .await
                .map_err(Into::into)
            }
            .boxed()
        }),
    }
}

/// Writes a hop as the lane gateway does.
pub fn write_hop(log: &MemoryLog, hop: &Hop) {
    match serde_json::to_vec(hop) {
        Ok(line) => log.write_line(line),
        Err(why) => tracing::warn!(%why, "a hop could not be written"),
    }
}
