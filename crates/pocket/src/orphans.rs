//! Finds the processes of pods in `/proc`, whatever their parent is now, and kills orphaned ones.
//!
//! A process belongs to a pod if [`MARK_VARIABLE`] in its environment says so (children inherit it), if
//! it is in the session of a container whose shim was just lost, or if it descends from such a
//! process.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use sha2::{Digest, Sha256};

/// Environment variable that marks every process of every container.
pub const MARK_VARIABLE: &str = "POCKET_RUN";
/// Mark that no process carries.
pub const NO_MARK: &str = "-";
/// Longest pause between two scans of `/proc`.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// Marks of the processes of one start of a pocket: `STATE:START:POD/CONTAINER/RUN/`. A prefix of
/// it selects all processes of a run, a container, a pod, this start of the pocket, or any start in
/// this state folder.
#[derive(Clone, Debug)]
pub struct Marks {
    state: String,
    start: String,
}

impl Marks {
    /// Creates the marks for a new start of the pocket in this folder.
    pub fn new(state: &Path) -> Self {
        let state = state.canonicalize().unwrap_or_else(|_| state.to_owned());
        let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
        let state = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        Self {
            state,
            start: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    /// Prefix for any start in this state folder.
    pub fn state_prefix(&self) -> String {
        format!("{}:", self.state)
    }

    /// Prefix for this start.
    pub fn start_prefix(&self) -> String {
        format!("{}:{}:", self.state, self.start)
    }

    /// Prefix for a pod.
    pub fn pod_prefix(&self, uid: &str) -> String {
        format!("{}{uid}/", self.start_prefix())
    }

    /// Mark of one run of a container: the full value of the variable.
    pub fn run_mark(&self, uid: &str, container: &str, number: i32) -> String {
        format!("{}{container}/{number}/", self.pod_prefix(uid))
    }
}

/// Session of a container's process. The kernel does not reuse its id while one of its members
/// lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    leader: i32,
    started: u64,
}

impl Session {
    /// Session of a running leader.
    pub fn from_leader(leader: Pid) -> Option<Self> {
        let leader = leader.as_raw_nonzero().get();
        Some(Self {
            leader,
            started: ProcStat::read_pid(leader)?.started,
        })
    }

    /// Formats the session as stored in the file of a run.
    pub fn to_line(self) -> String {
        format!("{} {}\n", self.leader, self.started)
    }

    /// Reads what a shim has written; `None` if nothing runs or the file is incomplete.
    pub fn read_file(file: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(file).ok()?;
        let (leader, started) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Self {
            leader: leader.parse().ok()?,
            started: started.parse().ok()?,
        })
    }

    /// Reads the sessions of all containers under `pods/`.
    pub fn read_all(pods: &Path) -> Vec<Self> {
        let folders = |dir: &Path| {
            std::fs::read_dir(dir)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path())
        };
        folders(pods)
            .flat_map(|pod| folders(&pod).collect::<Vec<_>>())
            .filter_map(|c| Self::read_file(&c.join("lock")))
            .collect()
    }
}

/// Fields of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcStat {
    alive: bool,
    parent: i32,
    session: i32,
    started: u64,
}

impl ProcStat {
    fn read_pid(pid: i32) -> Option<Self> {
        Self::parse_stat(&String::from_utf8_lossy(
            &std::fs::read(format!("/proc/{pid}/stat")).ok()?,
        ))
    }

    fn parse_stat(text: &str) -> Option<Self> {
        // The process name may contain anything, even parentheses.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            alive: !matches!(*fields.first()?, "Z" | "X" | "x"),
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

fn is_marked(environment: &[u8], mark: &str) -> bool {
    environment.split(|b| *b == 0).any(|pair| {
        pair.strip_prefix(MARK_VARIABLE.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
            .is_some_and(|value| value.starts_with(mark.as_bytes()))
    })
}

/// Selects the processes that belong to a mark or a session and their descendants, but never `own`.
fn select_processes(
    all: &HashMap<i32, ProcStat>,
    own: i32,
    sessions: &[Session],
    marked: impl Fn(i32) -> bool,
) -> Vec<i32> {
    let in_session = |stat: &ProcStat| {
        let session = sessions.iter().find(|s| s.leader == stat.session);
        // A leader with another start time is a different process: the id was reused in between.
        session.is_some_and(|s| {
            all.get(&s.leader)
                .is_none_or(|leader| leader.started == s.started)
        })
    };
    let mut found: HashSet<i32> = HashSet::new();
    for (pid, stat) in all {
        if in_session(stat) || marked(*pid) {
            found.insert(*pid);
        }
    }
    let descends = |pid: &i32| {
        let (mut at, mut seen) = (*pid, 0);
        while let Some(stat) = all.get(&at).filter(|_| seen <= all.len()) {
            if at == own {
                return false;
            }
            if found.contains(&at) {
                return true;
            }
            (at, seen) = (stat.parent, seen + 1);
        }
        false
    };
    let mut belonging: Vec<i32> = all
        .iter()
        .filter(|(pid, s)| s.alive && descends(pid))
        .map(|(pid, _)| *pid)
        .collect();
    belonging.sort_unstable();
    belonging
}

fn find_processes(mark: &str, sessions: &[Session]) -> Vec<(i32, u64)> {
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let all: HashMap<i32, ProcStat> = numbers
        .filter_map(|pid| Some((pid, ProcStat::read_pid(pid)?)))
        .collect();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    // Another user's environment cannot be read, and its process could not be killed anyway.
    let marked =
        |pid| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| is_marked(&e, mark));
    let found = select_processes(&all, own, sessions, marked);
    found
        .into_iter()
        .filter_map(|pid| Some((pid, all.get(&pid)?.started)))
        .collect()
}

/// Whether a process with this mark holds the socket, as far as this user can see.
pub fn holds_socket(mark: &str, inode: u64) -> bool {
    let socket = format!("socket:[{inode}]");
    find_processes(mark, &[]).into_iter().any(|(pid, _)| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        files
            .filter_map(|f| std::fs::read_link(f.path()).ok())
            .any(|to| to.as_os_str() == socket.as_str())
    })
}

fn kill_unless_reused(pid: i32, started: u64) {
    let Some(number) = Pid::from_raw(pid) else {
        return;
    };
    // The pidfd is opened before the check, so that the signal goes to the process that was
    // checked.
    let handle = pidfd_open(number, PidfdFlags::empty());
    if ProcStat::read_pid(pid).is_none_or(|now| now.started != started) {
        return;
    }
    let _ = match handle {
        Ok(handle) => pidfd_send_signal(handle, Signal::KILL),
        Err(rustix::io::Errno::NOSYS) => kill_process(number, Signal::KILL),
        Err(gone) => Err(gone),
    };
}

/// Kills everything that belongs to the mark (a prefix, see [`Marks`]) or to one of the sessions,
/// until nothing is left. Processes may end by themselves during `patience`. Returns `false` if
/// something is still left after `limit`.
pub fn kill_processes(
    mark: &str,
    sessions: &[Session],
    patience: Duration,
    limit: Duration,
) -> bool {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let found = find_processes(mark, sessions);
        if found.is_empty() {
            return true;
        }
        let waited = start.elapsed();
        if waited >= patience {
            found
                .iter()
                .for_each(|(pid, started)| kill_unless_reused(*pid, *started));
        }
        if waited >= patience + limit {
            tracing::warn!(?found, "processes of a pod cannot be killed");
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// The same on a blocking thread.
pub async fn kill_processes_async(
    mark: String,
    sessions: Vec<Session>,
    patience: Duration,
    limit: Duration,
) -> bool {
    let ending =
        tokio::task::spawn_blocking(move || kill_processes(&mark, &sessions, patience, limit));
    ending.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stat(parent: i32, session: i32) -> ProcStat {
        ProcStat {
            alive: true,
            parent,
            session,
            started: 7,
        }
    }

    #[test]
    fn a_name_in_stat_may_hold_anything() {
        let text = "12 (a) R 1 (b) S 3 4 5 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8888 1 2";
        assert_eq!(
            ProcStat::parse_stat(text),
            Some(ProcStat {
                alive: true,
                parent: 3,
                session: 5,
                started: 8888
            })
        );
        assert!(
            !ProcStat::parse_stat(&text.replace("(b) S", "(b) Z"))
                .unwrap()
                .alive
        );
        for cut in ["", "12 (a", "12 (a) S 1", "12 (a) S x 1 1"] {
            assert_eq!(ProcStat::parse_stat(cut), None, "{cut}");
        }
    }

    #[test]
    fn a_mark_is_a_prefix_of_the_variable_and_of_no_other() {
        let marks = Marks::new(Path::new("/x"));
        let run = marks.run_mark("u", "c", 1);
        let environment = format!("A=1\0{MARK_VARIABLE}={run}\0B=2\0");
        for mark in [
            marks.state_prefix(),
            marks.start_prefix(),
            marks.pod_prefix("u"),
            run,
        ] {
            assert!(is_marked(environment.as_bytes(), &mark), "{mark}");
        }
        let other = [
            marks.pod_prefix("v"),
            marks.run_mark("u", "c", 2),
            marks.run_mark("u", "c", 11),
            marks.run_mark("u", "d", 1),
        ];
        for mark in [
            Marks::new(Path::new("/x")).start_prefix(),
            Marks::new(Path::new("/y")).state_prefix(),
        ]
        .iter()
        .chain(&other)
        {
            assert!(!is_marked(environment.as_bytes(), mark), "{mark}");
        }
        assert!(!is_marked(
            format!("X{environment}").replace("\0P", "\0XP").as_bytes(),
            &marks.state_prefix()
        ));
    }

    #[test]
    fn sessions_and_descendants_belong_and_strangers_do_not() {
        let mut all: HashMap<i32, ProcStat> = HashMap::new();
        all.insert(1, stat(0, 1));
        all.insert(10, stat(1, 10)); // the pocket: own
        all.insert(20, stat(10, 10)); // a shim: marked
        all.insert(30, stat(20, 30)); // without a mark, below it
        all.insert(31, stat(1, 31)); // in a session of its own, and marked
        all.insert(40, stat(1, 40)); // a stranger
        all.insert(50, stat(1, 49)); // in the session of a leader that is gone
        all.insert(60, stat(1, 60)); // a stranger whose number was a session's once
        all.insert(
            70,
            ProcStat {
                alive: false,
                ..stat(20, 30)
            },
        ); // a zombie
        let sessions = [
            Session {
                leader: 49,
                started: 3,
            },
            Session {
                leader: 60,
                started: 3,
            },
        ];
        assert_eq!(
            select_processes(&all, 10, &sessions, |pid| [20, 31].contains(&pid)),
            [20, 30, 31, 50]
        );
        // Neither the scanning process itself nor its unmarked children are selected.
        assert_eq!(
            select_processes(&all, 10, &[], |pid| pid == 1),
            [1, 31, 40, 50, 60]
        );
    }

    #[test]
    fn a_session_is_read_back_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("u/c/lock");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let own = Session::from_leader(rustix::process::getpid()).unwrap();
        std::fs::write(&file, own.to_line()).unwrap();
        assert_eq!(Session::read_all(dir.path()), [own]);
        for broken in ["", "1", "1 2", "a b\n", "1 \n"] {
            std::fs::write(&file, broken).unwrap();
            assert_eq!(Session::read_file(&file), None, "{broken:?}");
        }
    }

    proptest! {
        /// For any parents, even cyclic ones, it terminates, and every process found descends from
        /// a marked one.
        #[test]
        fn any_forest_is_walked_to_an_end(parents in prop::collection::vec(0..20i32, 20), marked in 0..20i32) {
            let all: HashMap<i32, ProcStat> = (0..20).zip(&parents).map(|(pid, parent)| (pid, stat(*parent, 99))).collect();
            let found = select_processes(&all, 100, &[], |pid| pid == marked);
            prop_assert!(found.contains(&marked));
            for pid in found {
                let chain: Vec<i32> = std::iter::successors(Some(pid), |p| parents.get(usize::try_from(*p).ok()?).copied()).take(21).collect();
                prop_assert!(chain.contains(&marked));
            }
        }
    }
}
