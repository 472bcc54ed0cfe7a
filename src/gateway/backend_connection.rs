//! A connection to a backend. Requests without a body drive it in their own task, which spares two
//! switches between tasks for each request; others leave it to a task of its own, so that the
//! upload goes on while the caller takes nothing of the response.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::task::AtomicWaker;
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    client::conn::{
        TrySendError,
        http1::{Connection, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

use super::{body::Upload, deadline::Deadline};

/// More 1xx responses than this are a flood and end the request: what they announce (such as early
/// hints) only saves time.
pub(super) const MAX_INFORMATIONAL: u32 = 32;

/// Why no response came.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// The connection failed.
    Failed(Box<TrySendError<Request<Upload>>>),
    /// More than `MAX_INFORMATIONAL` informational responses came.
    Flood,
    /// Nothing came in time.
    TimedOut,
}

/// An HTTP/1 connection to a backend, for one request at a time.
#[derive(Debug)]
pub(super) struct BackendConnection {
    sender: SendRequest<Upload>,
    /// Reads and writes the connection; `None` if a task of its own does, or if it has ended.
    driver: Option<Box<Connection<TokioIo<TcpStream>, Upload>>>,
    informational: Arc<InformationalCount>,
    deadline: Deadline,
}

/// Counts the informational responses to a request.
#[derive(Debug, Default)]
struct InformationalCount {
    seen: AtomicU32,
    waiter: AtomicWaker,
}

impl BackendConnection {
    pub(super) fn new(
        sender: SendRequest<Upload>,
        driver: Connection<TokioIo<TcpStream>, Upload>,
    ) -> Self {
        Self {
            sender,
            driver: Some(Box::new(driver)),
            informational: Arc::default(),
            deadline: Deadline::default(),
        }
    }

    /// Reads and writes as far as possible.
    pub(super) fn poll_drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(&mut **driver).poll(cx).is_ready()
        {
            // The sender tells why.
            self.driver = None;
        }
    }

    /// Whether it has ended, as far as is known without waiting.
    pub(super) fn has_ended(&mut self) -> bool {
        self.poll_drive(&mut Context::from_waker(Waker::noop()));
        self.sender.is_closed()
    }

    /// Whether it can take a request at once.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its response, for at most `limit`.
    pub(super) async fn exchange(
        &mut self,
        mut request: Request<Upload>,
        upgrade: bool,
        limit: Option<Duration>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        if upgrade || !request.body().is_end_stream() {
            self.detach_driver();
        }
        self.count_informational(&mut request);
        let at = limit.map(|limit| Instant::now() + limit);
        let mut response = std::pin::pin!(self.sender.try_send_request(request));
        std::future::poll_fn(|cx| {
            self.informational.waiter.register(cx.waker());
            self.poll_drive(cx);
            if let Poll::Ready(response) = response.as_mut().poll(cx) {
                return Poll::Ready(response.map_err(|why| ExchangeError::Failed(Box::new(why))));
            }
            if self.informational.seen.load(Relaxed) > MAX_INFORMATIONAL {
                return Poll::Ready(Err(ExchangeError::Flood));
            }
            let late = at.map(|at| self.deadline.poll_until(at, cx).is_ready());
            match late {
                Some(true) => Poll::Ready(Err(ExchangeError::TimedOut)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Leaves reading and writing to a task of its own.
    fn detach_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            tokio::spawn(async move {
                let _ = driver.with_upgrades().await;
            });
        }
    }

    /// Ends the exchange when a backend sends too many informational responses.
    fn count_informational(&self, request: &mut Request<Upload>) {
        self.informational.seen.store(0, Relaxed);
        let count = self.informational.clone();
        hyper::ext::on_informational(request, move |_| {
            if count.seen.fetch_add(1, Relaxed) == MAX_INFORMATIONAL {
                count.waiter.wake();
            }
        });
    }
}
