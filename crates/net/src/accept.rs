//! Accepts connections at an address and serves those that are admitted.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, ConnectionSlot};

/// Share of this process's file descriptors for the peers of each such address.
const DESCRIPTOR_SHARE: f64 = 0.125;
/// Pause after a connection could not be accepted.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Binds first, so that a port in use is reported at once; then calls `serve` with each connection
/// until `stop`, which also ends those that are open.
///
/// # Errors
///
/// When the address cannot be bound.
pub async fn bind_and_accept<F>(
    address: SocketAddr,
    stop: CancellationToken,
    serve: impl Fn(TcpStream, ConnectionSlot) -> F + Clone + Send + 'static,
) -> io::Result<(SocketAddr, impl Future<Output = ()> + Send)>
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let admission = Admission::for_descriptor_share(DESCRIPTOR_SHARE, 1);
    Ok((address, async move {
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            let Ok((stream, peer)) = accepted else {
                // Most likely out of file descriptors: some may be free a moment later.
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            };
            let (admission, serve, stop) = (admission.clone(), serve.clone(), stop.clone());
            tokio::spawn(async move {
                // Closed without an answer: a peer with too many connections gets no explanation.
                let place = admission.admit_peer(peer, address).await?;
                stop.run_until_cancelled(serve(stream, place)).await
            });
        }
    }))
}
