//! Finds the process that listens on an address that we cannot bind, from `/proc`, as far as this
//! user may see.

use std::{fs, net::SocketAddr, path::Path};

use net::sockets;

/// Name and pid, as `nginx (process 123)`; `None` if not known.
pub(super) fn find_port_owner(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else {
        return None;
    };
    let inodes: Vec<String> = sockets::listeners_at(address)
        .iter()
        .map(|s| format!("socket:[{}]", s.inode))
        .collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        if has_socket(&process.path(), &inodes) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}

fn has_socket(process: &Path, inodes: &[String]) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files.flatten().any(|file| {
        let to = fs::read_link(file.path()).unwrap_or_default();
        inodes.iter().any(|inode| to.as_os_str() == inode.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_is_found_and_nobody_is_not() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let told = find_port_owner(address).unwrap();
        assert!(
            told.ends_with(&format!("(process {})", std::process::id())),
            "{told}"
        );
        let everywhere = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = everywhere.local_addr().unwrap().port();
        assert!(find_port_owner(SocketAddr::from(([127, 0, 0, 1], port))).is_some());
        drop(taken);
        assert_eq!(find_port_owner(address), None);
    }
}
