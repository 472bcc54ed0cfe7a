//! A load of its own on the entry, tagged and untagged, that checks every response.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};

/// What chains are right now, as one letter an app: `GBG` is gray, base, gray. None: whatever is on its way.
#[derive(Clone, Debug, Default, PartialEq)]
struct Epoch {
    number: u64,
    plain: Option<&'static str>,
    tagged: Option<&'static str>,
}

#[derive(Default)]
struct Seen {
    sent: AtomicU64,
    /// Responses compared with an exact expectation, tagged ones.
    exact: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

pub struct Report {
    pub sent: u64,
    pub wrong: Vec<String>,
}

pub struct Load {
    epoch: watch::Sender<Epoch>,
    seen: Arc<Seen>,
    workers: JoinSet<()>,
    stop: tokio_util::sync::CancellationToken,
}

impl Load {
    /// Four workers with a connection each.
    pub fn start(entry: String) -> Self {
        let (epoch, _) = watch::channel(Epoch {
            plain: Some("BBB"),
            ..Epoch::default()
        });
        let (seen, stop) = (
            Arc::<Seen>::default(),
            tokio_util::sync::CancellationToken::new(),
        );
        let mut workers = JoinSet::new();
        for n in 0..4 {
            let tagged = n % 2 == 0;
            let url = format!(
                "http://{entry}/A/a{}",
                if tagged { "?group=gray" } else { "" }
            );
            workers.spawn(work(
                url,
                tagged,
                epoch.subscribe(),
                seen.clone(),
                stop.clone(),
            ));
        }
        Self {
            epoch,
            seen,
            workers,
            stop,
        }
    }

    /// From now on only these chains are right. Untagged requests never have another one than all base.
    pub async fn expect_only(&self, plain: &'static str, tagged: &'static str) {
        self.next(Some(plain), Some(tagged));
        self.checked(8).await;
    }

    /// Something is on its way: tagged requests may take gray or base of A and C; untagged ones still only base.
    pub async fn anything(&self) {
        self.next(Some("BBB"), None);
    }

    fn next(&self, plain: Option<&'static str>, tagged: Option<&'static str>) {
        self.epoch.send_modify(|e| {
            *e = Epoch {
                number: e.number + 1,
                plain,
                tagged,
            }
        });
    }

    /// Waits until that many more tagged responses were compared exactly.
    pub async fn checked(&self, more: u64) {
        let from = self.seen.exact.load(Ordering::SeqCst);
        let enough = async {
            while self.seen.exact.load(Ordering::SeqCst) < from + more {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_mins(1), enough).await;
        assert!(
            done.is_ok(),
            "the load stands still: {:?}",
            self.seen.wrong.lock().unwrap()
        );
    }

    pub async fn stop(mut self) -> Report {
        self.stop.cancel();
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
        let wrong = std::mem::take(&mut *self.seen.wrong.lock().unwrap());
        Report {
            sent: self.seen.sent.load(Ordering::SeqCst),
            wrong,
        }
    }
}

async fn work(
    url: String,
    tagged: bool,
    epochs: watch::Receiver<Epoch>,
    seen: Arc<Seen>,
    stop: tokio_util::sync::CancellationToken,
) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    while !stop.is_cancelled() {
        let before = epochs.borrow().clone();
        let response = async {
            let response = client.get(&url).send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.text().await?))
        };
        let answer = response.await;
        let after = epochs.borrow().clone();
        seen.sent.fetch_add(1, Ordering::SeqCst);
        let problem = match &answer {
            Err(why) => Some(format!("{why:?}")),
            Ok((status, body)) if *status != 200 => Some(format!("{status}: {body}")),
            Ok((_, body)) => match sides(body) {
                None => Some(format!("no chain: {body:?}")),
                Some(sides) => {
                    let wanted = if tagged { before.tagged } else { before.plain };
                    let stable = before == after;
                    if stable && wanted.is_some() && tagged {
                        seen.exact.fetch_add(1, Ordering::SeqCst);
                    }
                    // B never has a gray; what a request met across a change may be of either side of it.
                    let right = match wanted.filter(|_| stable) {
                        Some(wanted) => sides == wanted,
                        None if tagged => sides.as_bytes()[1] == b'B',
                        None => sides == "BBB",
                    };
                    (!right).then(|| format!("{sides} where {wanted:?} was right: {body}"))
                }
            },
        };
        if let Some(problem) = problem {
            let mut wrong = seen.wrong.lock().unwrap();
            if wrong.len() < 50 {
                wrong.push(format!(
                    "{} {url} (epoch {}): {problem}",
                    jiff::Timestamp::now(),
                    before.number
                ));
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// `Agray[ip][config=base] -> B[ip] -> Cgray[ip]` to `GBG`; none when it is no chain of A, B and C by pods.
fn sides(body: &str) -> Option<String> {
    let links: Vec<&str> = body.trim().split(" -> ").collect();
    let mut sides = String::new();
    let mut addresses = BTreeSet::new();
    for (link, letter) in links.iter().zip(["A", "B", "C"]) {
        let (tag, rest) = link.strip_prefix(letter)?.split_once('[')?;
        addresses.insert(rest.split(']').next()?.parse::<std::net::Ipv4Addr>().ok()?);
        sides.push(match tag {
            "" => 'B',
            "gray" => 'G',
            _ => return None,
        });
    }
    (links.len() == 3 && addresses.len() == 3).then_some(sides)
}
