//! The processes of this machine, by `/proc`.

use std::{collections::BTreeMap, fs};

/// One that ran once: a number alone may be another's by now.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    pid: u32,
    parent: u32,
    name: String,
    started: String,
}

impl Process {
    /// None: it is gone, or a zombie.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, rest) = stat.split_once(" (")?.1.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let parent = fields[1].parse().ok()?;
        (fields[0] != "Z").then(|| Self {
            pid,
            parent,
            name: name.into(),
            started: fields[19].into(),
        })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn parent(&self) -> u32 {
        self.parent
    }

    /// Its command line.
    pub fn words(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cmdline", self.pid))
            .unwrap_or_default()
            .replace('\0', " ")
    }

    pub fn is_there(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.started == self.started)
    }
}

/// Children of a process, theirs, and so on.
pub fn below(pid: u32) -> Vec<Process> {
    let all = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let mut children: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for process in all.filter_map(Process::of) {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = children.remove(&pid).unwrap_or_default();
    let mut at = 0;
    while at < found.len() {
        found.extend(children.remove(&found[at].pid).unwrap_or_default());
        at += 1;
    }
    found
}
