//! Who listens where we cannot: looked up in `/proc`, as far as this user may see.

use std::{fs, net::SocketAddr, path::Path};

/// `nginx (process 123)`; none when it cannot be known.
pub(super) fn of(address: SocketAddr) -> Option<String> {
    let inodes = listening(address)?;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        if holds(&process.path(), &inodes) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}

fn holds(process: &Path, inodes: &[String]) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    files.flatten().any(|file| {
        let to = fs::read_link(file.path()).unwrap_or_default();
        let to = to.to_string_lossy();
        let inode = to.strip_prefix("socket:[").and_then(|t| t.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.iter().any(|i| i == inode))
    })
}

/// Sockets that listen on an IPv4 address, or on its port at every address.
fn listening(address: SocketAddr) -> Option<Vec<String>> {
    let SocketAddr::V4(wanted) = address else { return None };
    let port = format!(":{:04X}", wanted.port());
    let own = format!("{:08X}", u32::from_le_bytes(wanted.ip().octets()));
    let mut inodes = vec![];
    for (table, every) in [("/proc/net/tcp", "00000000"), ("/proc/net/tcp6", "00000000000000000000000000000000")] {
        for line in fs::read_to_string(table).unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(&state), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
                continue;
            };
            let at = local.strip_suffix(&port);
            // 0A: LISTEN.
            if state == "0A" && at.is_some_and(|at| at == own || at == every) {
                inodes.push((*inode).to_owned());
            }
        }
    }
    Some(inodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_is_found_and_nobody_is_not() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let told = of(address).unwrap();
        assert!(told.ends_with(&format!("(process {})", std::process::id())), "{told}");
        let everywhere = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = everywhere.local_addr().unwrap().port();
        assert!(of(SocketAddr::from(([127, 0, 0, 1], port))).is_some());
        drop(taken);
        assert_eq!(of(address), None);
    }
}
