//! A real control plane: etcd, kube-apiserver and kube-controller-manager, from where envtest looks for them.
//!
//! It has a loopback address of its own, so no port is ever another's. Each process hangs on a pipe of this one:
//! whatever way the test ends, the pipe closes, the process is killed, and with etcd goes the folder.

#[path = "control_plane/certificates.rs"]
mod certificates;
#[path = "control_plane/process.rs"]
mod process;

use std::{
    env, fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use certificates::Authority;
use process::Process;

/// Also on a slow machine under load.
const START: Duration = Duration::from_mins(1);
const BINARIES: [&str; 3] = ["etcd", "kube-apiserver", "kube-controller-manager"];
/// Who is known by a token; all but the first have no right that they are not given.
pub const USERS: [(&str, &str); 9] = [
    ("admin", "system:masters"),
    ("viewer", "viewers"),
    ("operator", "operators"),
    ("operator-two", "operators"),
    ("approver", "approvers"),
    ("approver-two", "approvers"),
    ("governor", "governors"),
    ("engine", "engines"),
    ("nobody", "strangers"),
];
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,job-controller,\
    garbage-collector-controller,namespace-controller,serviceaccount-controller,endpointslice-controller,\
    disruption-controller";

pub struct ControlPlane {
    dir: PathBuf,
    binaries: PathBuf,
    address: String,
    authority: Authority,
    api: Option<Process>,
    // In this order: etcd goes last, and the folder with it.
    _controllers: Process,
    _etcd: Process,
}

/// Where the binaries are: `$KUBEBUILDER_ASSETS`, else `/usr/local/kubebuilder/bin`.
pub fn binaries() -> Option<PathBuf> {
    let dir = env::var_os("KUBEBUILDER_ASSETS")
        .map_or_else(|| "/usr/local/kubebuilder/bin".into(), PathBuf::from);
    let missing: Vec<&str> = BINARIES
        .into_iter()
        .filter(|b| !dir.join(b).is_file())
        .collect();
    if missing.is_empty() {
        return Some(dir);
    }
    // Past libtest's capture: what was not run must be seen also when all is green.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: no real control plane: {} not in {} (set KUBEBUILDER_ASSETS), so this ran on pocket only",
        missing.join(", "),
        dir.display()
    );
    None
}

impl ControlPlane {
    /// None, and a loud word on stderr, where the binaries are missing. Call it within a tokio runtime.
    pub async fn start() -> Option<Self> {
        let binaries = binaries()?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::Builder::new()
            .prefix("control-plane-")
            .tempdir()
            .unwrap()
            .keep();
        let random = uuid::Uuid::new_v4();
        let [b, c, d, ..] = *random.as_bytes();
        // Below what pockets take, above what a machine's own services do.
        let address = format!("127.{}.{c}.{}", 2 + b % 60, 1 + d % 250);
        let authority = Authority::new(&dir, &address);
        private(&dir.join("tokens"), tokens().as_bytes());
        let etcd = etcd(&binaries, &dir, &address);
        let mut plane = Self {
            _controllers: Process::none(),
            api: None,
            _etcd: etcd,
            binaries,
            dir,
            address,
            authority,
        };
        for (user, _) in USERS {
            plane.write_kubeconfig(user, &json!({"token": token(user)}));
        }
        plane.start_api_server().await;
        plane._controllers = plane.controllers();
        Some(plane)
    }

    pub fn url(&self) -> String {
        format!("https://{}:6443", self.address)
    }

    /// Of one of [`USERS`], or of a certificate made here. For its owner only.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir.join(format!("{user}.kubeconfig"))
    }

    pub async fn client(&self, user: &str) -> Client {
        let read = Kubeconfig::read_from(self.kubeconfig(user)).unwrap();
        let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
            .await
            .unwrap();
        // What pocket's own client says: the first word is who owns the fields.
        config.headers.push((
            http::header::USER_AGENT,
            http::HeaderValue::from_static("conformance/1"),
        ));
        Client::try_from(config).unwrap()
    }

    /// A user known by a client certificate that is good for `life` from now.
    pub fn certificate_user(&self, name: &str, group: &str, life: Duration) -> PathBuf {
        let (certificate, key) = self.authority.client(name, group, life);
        let data = |text: String| BASE64_STANDARD.encode(text);
        let user =
            json!({"client-certificate-data": data(certificate), "client-key-data": data(key)});
        self.write_kubeconfig(name, &user);
        self.kubeconfig(name)
    }

    /// From its next start on the server knows these no more by their tokens.
    pub fn forget_tokens(&self, users: &[&str]) {
        let all = tokens();
        let kept = all
            .lines()
            .filter(|l| !users.iter().any(|u| l.split(',').nth(1) == Some(u)));
        private(
            &self.dir.join("tokens"),
            kept.fold(String::new(), |all, l| all + l + "\n").as_bytes(),
        );
    }

    fn write_kubeconfig(&self, name: &str, user: &Value) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "real",
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": name, "namespace": "default"}}],
            "clusters": [{"name": "real", "cluster": {
                "server": self.url(), "certificate-authority-data": self.authority.data(),
            }}],
            "users": [{"name": name, "user": user}],
        });
        private(&self.kubeconfig(name), config.to_string().as_bytes());
    }

    /// KILL, as by a machine that fell.
    pub fn stop_api_server(&mut self) {
        self.api = None;
    }

    /// Starts it at the address it had, and waits until it is ready.
    pub async fn start_api_server(&mut self) {
        let file = |name: &str| self.dir.join(name).display().to_string();
        let args = [
            format!("--etcd-servers=http://{}:2379", self.address),
            format!("--bind-address={}", self.address),
            "--secure-port=6443".into(),
            format!("--advertise-address={}", self.address),
            "--endpoint-reconciler-type=none".into(),
            "--service-cluster-ip-range=10.0.0.0/16".into(),
            "--authorization-mode=RBAC".into(),
            format!("--token-auth-file={}", file("tokens")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", file("accounts.pub")),
            format!(
                "--service-account-signing-key-file={}",
                file("accounts.key")
            ),
            "--profiling=false".into(),
        ];
        self.api = Some(Process::start(
            &self.binaries,
            "kube-apiserver",
            &args,
            &self.dir,
            "",
        ));
        let client = self.client("admin").await;
        let started = Instant::now();
        loop {
            let asked = http::Request::get("/readyz").body(Vec::new()).unwrap();
            match client.request_text(asked).await {
                Ok(answer) if answer == "ok" => return,
                answer if started.elapsed() > START => {
                    panic!(
                        "kube-apiserver is not ready ({answer:?}): {}",
                        process::told(&self.dir, "kube-apiserver")
                    )
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    pub async fn restart_api_server(&mut self) {
        self.stop_api_server();
        self.start_api_server().await;
    }

    /// Etcd forgets all that was before now; a watch cache of the API server does not.
    pub async fn compact(&self) {
        let http = reqwest::Client::new();
        let call = async |path: &str, body: Value| -> Value {
            let url = format!("http://{}:2379/v3/kv/{path}", self.address);
            let answer = http.post(url).json(&body).send().await.unwrap();
            assert!(answer.status().is_success(), "{path}: {answer:?}");
            answer.json().await.unwrap()
        };
        let seen = call("range", json!({"key": BASE64_STANDARD.encode("/")})).await;
        let revision = seen["header"]["revision"].as_str().unwrap().to_owned();
        call(
            "compaction",
            json!({"revision": revision, "physical": true}),
        )
        .await;
    }

    fn controllers(&self) -> Process {
        let args = [
            format!("--kubeconfig={}", self.kubeconfig("admin").display()),
            format!("--controllers={CONTROLLERS}"),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
            "--kube-api-qps=2000".into(),
            "--kube-api-burst=4000".into(),
            "--profiling=false".into(),
        ];
        Process::start(
            &self.binaries,
            "kube-controller-manager",
            &args,
            &self.dir,
            "",
        )
    }
}

fn etcd(binaries: &Path, dir: &Path, address: &str) -> Process {
    let (clients, peers) = (
        format!("http://{address}:2379"),
        format!("http://{address}:2380"),
    );
    let args = [
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ];
    Process::start(binaries, "etcd", &args, dir, &dir.display().to_string())
}

fn token(user: &str) -> String {
    format!("token-of-{user}")
}

fn tokens() -> String {
    USERS
        .iter()
        .map(|(user, group)| format!("{},{user},{user},\"{group}\"\n", token(user)))
        .collect()
}

fn private(file: &Path, bytes: &[u8]) {
    let mut open = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .unwrap();
    open.write_all(bytes).unwrap();
}
