//! Which cluster the cockpit looks at. Another one can be chosen without leaving: the watches of the old one end, and
//! every wish that comes after is about the new one.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    api::LaneGroup,
    cluster::{
        self,
        agent::Agent,
        clusters::Clusters,
        connect::{self, ConnectError, Connected, Source},
        error, rights,
        stores::Store,
        trace::SpanInlet,
    },
    domain::{
        text::Clean,
        world::{Link, Trouble, World},
    },
    ui::{Fault, effect::Choice},
};

/// Where the cockpit began; one can always go back there.
pub(super) struct Home {
    pub(super) place: String,
    /// None is the demo of this process.
    pub(super) source: Option<Source>,
    pub(super) connected: Connected,
    /// When somebody watches it already.
    pub(super) worlds: Option<Watched>,
}

/// The clusters that wishes go to now.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) clusters: Clusters,
    pub(super) namespace: String,
    /// Who acts there, once that is known.
    by: Arc<OnceCell<String>>,
    /// Whereby spans get into the worlds.
    inlet: SpanInlet,
    place: String,
    stop: CancellationToken,
}

impl Here {
    /// Asks the stores of a lane group for a trace, and hands what they tell to whoever makes worlds.
    pub(super) fn fetch_trace(&self, group: Arc<LaneGroup>, trace: String) {
        let (inlet, client, stop) = (
            self.inlet.clone(),
            self.clusters.home().clone(),
            self.stop.clone(),
        );
        let fetching = async move {
            for source in &group.spec.hops {
                let Ok(Some(store)) = Store::of(source, &group, &client) else {
                    continue;
                };
                match store.trace(&trace).await {
                    Ok(spans) => spans.into_iter().for_each(|span| inlet.send(span)),
                    Err(why) => tracing::warn!(%trace, %why, "the rest of a trace is not seen"),
                }
            }
        };
        tokio::spawn(async move { stop.run_until_cancelled(fetching).await });
    }

    /// Whom the server knows.
    pub(super) async fn by(&self) -> Result<String, Fault> {
        let asked = self
            .by
            .get_or_try_init(|| rights::who(self.clusters.home()))
            .await;
        asked.cloned().map_err(|why| {
            Fault::new(&format!(
                "who you are there is not known: {}",
                error::words(&why)
            ))
        })
    }
}

pub(super) struct Seat {
    home: Home,
    /// Who acts at home, where that is known without the server.
    by: Option<String>,
    kubeconfig: Option<PathBuf>,
    /// The namespace that was asked for, whatever a context says.
    namespace: Option<String>,
    here: Mutex<Option<Here>>,
    out: watch::Sender<World>,
}

impl Seat {
    pub(super) fn new(
        home: Home,
        by: Option<String>,
        kubeconfig: Option<PathBuf>,
        namespace: Option<String>,
    ) -> Self {
        let seat = Self {
            home,
            by,
            kubeconfig,
            namespace,
            here: Mutex::default(),
            out: watch::Sender::default(),
        };
        seat.go_home();
        seat
    }

    /// The clusters to speak to; none when the chosen context cannot be used.
    pub(super) fn here(&self) -> Option<Here> {
        self.here
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn worlds(&self) -> watch::Receiver<World> {
        self.out.subscribe()
    }

    pub(super) fn place(&self) -> String {
        self.here()
            .map_or_else(|| self.home.place.clone(), |here| here.place)
    }

    /// Home, and all that kubectl knows.
    pub(super) fn choices(&self) -> Result<Vec<Choice>, ConnectError> {
        let known = connect::read(self.kubeconfig.as_deref())
            .map(|kubeconfig| connect::contexts(&kubeconfig));
        // Somebody without kubectl has no files, and that is no fault.
        let known = if self.kubeconfig.is_none() && !connect::is_there() {
            Ok(vec![])
        } else {
            known
        };
        let mut choices: Vec<Choice> = known?
            .into_iter()
            .map(|context| Choice {
                place: format!("context {}", context.name),
                server: Clean::from_untrusted(&context.server),
                namespace: Clean::from_untrusted(
                    self.namespace
                        .as_ref()
                        .or(context.namespace.as_ref())
                        .map_or("default", |n| n),
                ),
                current: context.current,
                name: context.name,
            })
            .collect();
        if choices.iter().all(|c| c.place != self.home.place) {
            let own = Choice {
                name: self.home.place.clone(),
                place: self.home.place.clone(),
                server: Clean::from("where this began"),
                namespace: Clean::from_untrusted(&self.home.connected.namespace),
                current: false,
            };
            choices.insert(0, own);
        }
        Ok(choices)
    }

    /// Looks at another cluster; it need not be there.
    pub(super) fn switch(&self, name: &str) {
        let home_context = matches!(&self.home.source, Some(Source::Kubectl { .. }))
            && name == self.home.connected.name;
        if name == self.home.place || home_context {
            self.go_home();
            return;
        }
        let source = Source::Kubectl {
            kubeconfig: self.kubeconfig.clone(),
            context: Some(name.to_owned()),
        };
        let place = format!("context {name}");
        match connect::prepare(&source, self.namespace.as_deref(), Agent::Cockpit) {
            Ok(connected) => self.sit(connected, place, None, None),
            Err(why) => {
                self.leave();
                let why = Clean::from_untrusted(&why.to_string().replace('\n', "; "));
                let link = Link::Stale {
                    since: Timestamp::now(),
                    trouble: Trouble::Unauthorized,
                    why,
                };
                self.out.send_replace(World {
                    place: Clean::from_untrusted(&place),
                    link,
                    ..World::default()
                });
            }
        }
    }

    fn go_home(&self) {
        let (connected, place) = (self.home.connected.clone(), self.home.place.clone());
        self.sit(connected, place, self.home.worlds.clone(), self.by.clone());
    }

    fn sit(
        &self,
        connected: Connected,
        place: String,
        worlds: Option<Watched>,
        by: Option<String>,
    ) {
        self.leave();
        let stop = CancellationToken::new();
        let (clusters, namespace) = (connected.clusters, connected.namespace);
        let named = Named {
            place: Clean::from_untrusted(&place),
            me: by.as_deref().map(Clean::from_untrusted),
        };
        self.out.send_replace(named.over(World {
            namespace: namespace.clone(),
            ..World::default()
        }));
        let (worlds, inlet) = worlds.unwrap_or_else(|| {
            cluster::watch::spawn_with_inlet(clusters.clone(), namespace.clone(), stop.clone())
        });
        tokio::spawn(pass_on(worlds, self.out.clone(), named, stop.clone()));
        let by = Arc::new(OnceCell::new_with(by));
        let here = Here {
            clusters,
            namespace,
            by,
            inlet,
            place,
            stop,
        };
        *self.here.lock().unwrap_or_else(PoisonError::into_inner) = Some(here);
    }

    /// Ends the watches.
    pub(super) fn leave(&self) {
        if let Some(old) = self
            .here
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            old.stop.cancel();
        }
    }
}

/// Worlds, and the way into them for spans.
type Watched = (watch::Receiver<World>, SpanInlet);

/// What a world is shown as.
struct Named {
    place: Clean,
    /// Who acts there, where it is not for the server to say.
    me: Option<Clean>,
}

impl Named {
    fn over(&self, world: World) -> World {
        World {
            place: self.place.clone(),
            me: self.me.clone(),
            ..world
        }
    }
}

/// Worlds go out under the name of their place, until another place is looked at.
async fn pass_on(
    mut worlds: watch::Receiver<World>,
    out: watch::Sender<World>,
    named: Named,
    stop: CancellationToken,
) {
    worlds.mark_changed();
    while let Some(Ok(())) = stop.run_until_cancelled(worlds.changed()).await {
        let world = named.over(worlds.borrow_and_update().clone());
        out.send_if_modified(|old| {
            // Whoever came after us has the word.
            let ours = old.place == named.place && !stop.is_cancelled();
            if ours {
                *old = world;
            }
            ours
        });
    }
}
