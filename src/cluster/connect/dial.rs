//! Builds a client from a configuration, with kubectl's ways to a server: directly, through a
//! tunnel of an HTTP proxy, or by SOCKS5. This replaces `kube::Client::try_from` for three reasons:
//! without `TCP_NODELAY` the server's delayed acknowledgement delays every request with a body by
//! 40 ms; a SOCKS5 proxy may require a user name; and a plain-http server behind an HTTP proxy must
//! be requested by its full URL, as Go does, because most proxies do not allow tunnels to such
//! servers.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{TryFutureExt, future::MapOk};
use http::{HeaderValue, Uri, header::PROXY_AUTHORIZATION};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{
        Client as HttpClient,
        connect::{
            Connected, Connection, HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
    },
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use tower::{BoxError, Layer, Service, ServiceExt, util::Either};

use super::address;

/// # Errors
///
/// When no client can be made from the configuration.
pub(super) fn build_client(mut config: Config) -> kube::Result<Client> {
    let tcp = tcp_connector();
    let Some(proxy) = config.proxy_url.clone() else {
        return client_over_connector(tcp, config);
    };
    let login = address::proxy_login(&proxy);
    let basic = login.as_ref().and_then(|(user, password)| {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        HeaderValue::try_from(format!("Basic {encoded}")).ok()
    });
    let in_clear = config.cluster_url.scheme_str() == Some("http");
    match proxy.scheme_str() {
        Some("socks5") => {
            let socks = SocksV5::new(proxy, tcp);
            match login {
                Some((user, password)) => {
                    client_over_connector(socks.with_auth(user, password), config)
                }
                None => client_over_connector(socks, config),
            }
        }
        Some("http") if in_clear => {
            config
                .headers
                .extend(basic.map(|value| (PROXY_AUTHORIZATION, value)));
            client_over_connector(ProxyConnector { inner: tcp, proxy }, config)
        }
        Some("https") if in_clear => {
            config
                .headers
                .extend(basic.map(|value| (PROXY_AUTHORIZATION, value)));
            // The server is not verified. The proxy is, by the system's authorities.
            let inner = Config::new(proxy.clone()).rustls_https_connector_with_connector(tcp)?;
            client_over_connector(ProxyConnector { inner, proxy }, config)
        }
        Some("http") => {
            client_over_connector(with_authorization(Tunnel::new(proxy, tcp), basic), config)
        }
        Some("https") => {
            // As in Go's transport, the proxy is verified by the same authorities as the server.
            let tls = config.rustls_https_connector_with_connector(tcp)?;
            client_over_connector(with_authorization(Tunnel::new(proxy, tls), basic), config)
        }
        _ => Err(kube::Error::ProxyProtocolUnsupported {
            proxy_url: Box::new(proxy),
        }),
    }
}

fn tcp_connector() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
}

fn with_authorization<C>(tunnel: Tunnel<C>, basic: Option<HeaderValue>) -> Tunnel<C> {
    match basic {
        Some(value) => tunnel.with_auth(value),
        None => tunnel,
    }
}

fn client_over_connector<C>(connector: C, config: Config) -> kube::Result<Client>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let mut connector =
        TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = config
        .extra_headers_layer()?
        .layer(http.map_err(BoxError::from));
    let service = match config.auth_layer()? {
        Some(auth) => Either::Left(auth.layer(service)),
        None => Either::Right(service),
    };
    let service = config.base_uri_layer().layer(service);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

/// Connects to the proxy, whatever the target of the request.
#[derive(Clone)]
struct ProxyConnector<C> {
    inner: C,
    proxy: Uri,
}

impl<C> Service<Uri> for ProxyConnector<C>
where
    C: Service<Uri>,
{
    type Response = ProxiedStream<C::Response>;
    type Error = C::Error;
    type Future = MapOk<C::Future, fn(C::Response) -> ProxiedStream<C::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        self.inner.call(self.proxy.clone()).map_ok(ProxiedStream)
    }
}

/// A connection to a proxy, over which requests carry the full URL.
struct ProxiedStream<T>(T);

impl<T: Connection> Connection for ProxiedStream<T> {
    fn connected(&self) -> Connected {
        self.0.connected().proxy(true)
    }
}

impl<T: Read + Unpin> Read for ProxiedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl<T: Write + Unpin> Write for ProxiedStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn some(stream: &mut TcpStream, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    async fn counted(stream: &mut TcpStream) -> String {
        let n = stream.read_u8().await.unwrap();
        String::from_utf8(some(stream, n.into()).await).unwrap()
    }

    /// Answers a version request, and returns its head.
    async fn answered(stream: &mut TcpStream) -> String {
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let version = r#"{"major": "1", "minor": "36", "gitVersion": "v1.36.2", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{version}",
            version.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    }

    fn config(proxy: &str) -> Config {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = Config::new("http://k.example:8080/k".parse().unwrap());
        config.root_cert = Some(vec![]);
        config.auth_info.token = Some("t".to_owned().into());
        config.proxy_url = Some(address::parse_proxy(proxy, &["http", "socks5h"]).unwrap());
        config
    }

    /// A proxy by RFC 1928 and 1929 that also answers as the server; returns the credentials and
    /// the target it was given.
    async fn proxy(listener: TcpListener) -> (String, String, String, u16) {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(some(&mut stream, 2).await[0], 5);
        assert_eq!(stream.read_u8().await.unwrap(), 2, "a user name is offered");
        stream.write_all(&[5, 2]).await.unwrap();
        stream.read_u8().await.unwrap();
        let (user, password) = (counted(&mut stream).await, counted(&mut stream).await);
        stream.write_all(&[1, 0]).await.unwrap();
        assert_eq!(
            some(&mut stream, 4).await,
            [5, 1, 0, 3],
            "the name is the proxy's to look up"
        );
        let (host, port) = (counted(&mut stream).await, stream.read_u16().await.unwrap());
        stream
            .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let head = answered(&mut stream).await;
        assert!(
            head.starts_with("GET /k/version ") && head.contains("authorization: Bearer t\r\n"),
            "{head}"
        );
        (user, password, host, port)
    }

    #[tokio::test]
    async fn nothing_that_is_written_waits_for_an_acknowledgement() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server: Uri = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let stream = tcp_connector().oneshot(server).await.unwrap().into_inner();
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_socks5_proxy_is_told_who_asks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("socks5h://mia:p%40ss@{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(proxy(listener));
        let told = build_client(config(&url))
            .unwrap()
            .apiserver_version()
            .await
            .unwrap();
        assert_eq!(told.git_version, "v1.36.2");
        assert_eq!(
            asked.await.unwrap(),
            ("mia".into(), "p@ss".into(), "k.example".into(), 8080)
        );
    }

    #[tokio::test]
    async fn an_http_proxy_is_asked_for_the_url_of_a_server_in_clear() {
        for (login, sent) in [
            ("", None),
            (
                "mia:p%40ss@",
                Some("proxy-authorization: Basic bWlhOnBAc3M=\r\n"),
            ),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{login}{}", listener.local_addr().unwrap());
            let asked =
                tokio::spawn(
                    async move { answered(&mut listener.accept().await.unwrap().0).await },
                );
            let told = build_client(config(&url))
                .unwrap()
                .apiserver_version()
                .await
                .unwrap();
            assert_eq!(told.git_version, "v1.36.2");
            let head = asked.await.unwrap();
            assert!(
                head.starts_with("GET http://k.example:8080/k/version HTTP/1.1\r\n"),
                "{head}"
            );
            assert!(head.contains("host: k.example:8080\r\n"), "{head}");
            let found = head.lines().find(|l| l.starts_with("proxy-authorization"));
            assert_eq!(found, sent.map(str::trim_end), "{head}");
        }
    }
}
