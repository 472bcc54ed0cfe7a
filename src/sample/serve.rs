//! Serves one sample service, with a shutdown that loses no request.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use color_eyre::eyre::{Result, WrapErr};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{
    config::Config,
    fault::Faults,
    next::{Caller, Failure},
};

/// A token that SIGTERM or SIGINT cancels.
pub(super) fn on_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        cancel.cancel();
    });
    Ok(stop)
}

struct Service {
    config: Arc<Config>,
    faults: Faults,
    caller: Caller,
}

/// Serves until `stop`, then for the lame-duck time, then finishes requests in flight.
pub async fn serve(config: Arc<Config>, stop: CancellationToken) -> Result<()> {
    let address = config.address;
    let listener = TcpListener::bind(address)
        .await
        .wrap_err_with(|| format!("cannot listen on {address}"))?;
    println!(
        "{} listens on {}, tag {:?}",
        config.link(),
        listener.local_addr()?,
        config.tag
    );
    let lameduck = config.lameduck;
    let caller = Caller::new(config.address.ip());
    let service = Arc::new(Service {
        config,
        faults: Faults::default(),
        caller,
    });
    let (graceful, http) = (
        GracefulShutdown::new(),
        auto::Builder::new(TokioExecutor::new()),
    );
    let end = async {
        stop.cancelled().await;
        tokio::time::sleep(lameduck).await;
    };
    tokio::pin!(end);
    loop {
        let stream = tokio::select! {
            () = &mut end => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(e) => {
                    println!("cannot accept: {e}");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        let answer = hyper::service::service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.answer_request(request).await) }
        });
        let connection = http
            .serve_connection(TokioIo::new(stream), answer)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
    println!("done");
    Ok(())
}

impl Service {
    async fn answer_request(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, body) = match self.build_answer(&request).await {
            Ok(body) => (StatusCode::OK, body),
            Err(failure) => failure,
        };
        let mut answer = Response::new(Full::new(Bytes::from(body)));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(
            "content-type",
            http::HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        if let Some(version) = self.config.version.as_deref().and_then(|v| v.parse().ok()) {
            headers.insert("x-app-version", version);
        }
        answer
    }

    async fn build_answer(&self, request: &Request<Incoming>) -> Result<String, Failure> {
        let (me, headers) = (&*self.config, request.headers());
        let path = request.uri().path();
        match path {
            "/health" if me.down => {
                return Err((
                    StatusCode::SERVICE_UNAVAILABLE,
                    "down, as HEALTH says\n".into(),
                ));
            }
            "/health" => return Ok("ok\n".into()),
            "/set-traffic-attribute" => {
                let query = request.uri().query().unwrap_or_default();
                return self
                    .faults
                    .set_from_query(query)
                    .map_err(|why| (StatusCode::BAD_REQUEST, format!("{why}\n")));
            }
            _ => {}
        }
        let fault = self.faults.next();
        if let Some(delay) = fault.delay {
            tokio::time::sleep(delay).await;
        }
        if fault.fail {
            return Err((
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{} fails, as it was told to\n", me.link()),
            ));
        }
        let call = |next, path| self.caller.call(me, next, path, headers);
        match (me.letter, path) {
            ('A', "/a" | "/aByFeign") => {
                Ok(format!("{} -> {}", me.link(), call(&me.b, "/b").await?))
            }
            ('A', "/a2bc") => {
                let (c, b) = tokio::join!(call(&me.c, "/c"), call(&me.b, "/b"));
                Ok(format!("{0} -> {1}\n{0} -> {2}", me.link(), c?, b?))
            }
            ('B', "/b" | "/bByFeign") => {
                Ok(format!("{} -> {}", me.link(), call(&me.c, "/c").await?))
            }
            ('C', "/c") => Ok(me.link()),
            _ => Err((
                StatusCode::NOT_FOUND,
                format!("{} has no {path}\n", me.letter),
            )),
        }
    }
}
