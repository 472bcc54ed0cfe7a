//! Commands of kubectl that are run for a person: a shell in a pod, and a forwarded port.

use super::command_line::CommandLine;
use crate::api::NamespaceRef;

/// Opens the best shell that a container has.
const SHELL: &str = "command -v bash >/dev/null && exec bash || exec sh";

/// Where kubectl finds a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubectlPlace {
    /// Path of the kubeconfig; `None` is kubectl's own choice.
    pub kubeconfig: Option<String>,
    /// Namespace; the home cluster is that of kubectl's current context.
    pub namespace: NamespaceRef,
}

impl KubectlPlace {
    fn command(&self) -> CommandLine {
        CommandLine::kubectl("")
            .option_if("--kubeconfig", self.kubeconfig.as_ref())
            .option_if("--context", self.namespace.cluster.context())
            .option("-n", &*self.namespace.name)
    }
}

/// A shell in a container.
pub fn exec_command(place: &KubectlPlace, pod: &str, container: &str) -> CommandLine {
    place
        .command()
        .fixed_args("exec -it")
        .arg(pod)
        .option("-c", container)
        .fixed_args("-- sh -c")
        .arg(SHELL)
}

/// A pod's port on a free port of this machine.
pub fn port_forward_command(place: &KubectlPlace, pod: &str, port: u16) -> CommandLine {
    place
        .command()
        .fixed_args("port-forward --address 127.0.0.1")
        .arg(["pod/", pod].concat())
        .arg([":", &port.to_string()].concat())
}

/// The port of this machine in what kubectl says: `Forwarding from 127.0.0.1:40001 -> 8080`.
pub fn parse_forwarded_port(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("Forwarding from ")?;
    let (address, _) = rest.split_once(" -> ")?;
    address.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_cluster_and_quote_what_is_foreign() {
        let place = KubectlPlace {
            kubeconfig: Some("/home/mia/my config".into()),
            namespace: NamespaceRef::new("eu;reboot".into(), "shop"),
        };
        assert_eq!(
            exec_command(&place, "a-1", "app").to_string(),
            "kubectl --kubeconfig '/home/mia/my config' --context 'eu;reboot' -n shop exec -it a-1 -c app -- sh -c \
             'command -v bash >/dev/null && exec bash || exec sh'"
        );
        let place = KubectlPlace {
            namespace: "shop".into(),
            ..KubectlPlace::default()
        };
        assert_eq!(
            port_forward_command(&place, "a-1", 8080).to_string(),
            "kubectl -n shop port-forward --address 127.0.0.1 pod/a-1 :8080"
        );
    }

    #[test]
    fn the_port_is_read_where_kubectl_tells_it() {
        let read = parse_forwarded_port;
        assert_eq!(read("Forwarding from 127.0.0.1:40001 -> 8080"), Some(40001));
        assert_eq!(read("Forwarding from [::1]:40001 -> 8080"), Some(40001));
        assert_eq!(read("Handling connection for 40001"), None);
        assert_eq!(read("Forwarding from nowhere"), None);
    }
}
