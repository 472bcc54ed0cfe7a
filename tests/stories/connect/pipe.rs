//! Between clients and a server that speaks TLS itself: all that comes is passed on, or everybody is cut off.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

#[derive(Default)]
struct State {
    slammed: bool,
    connections: CancellationToken,
}

pub struct Pipe {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _ends: DropGuard,
}

impl Pipe {
    /// At the server's own address, for which its certificate is.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((server.ip(), 0)).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let state = Arc::<Mutex<State>>::default();
        let pass = Arc::clone(&state);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let end = {
                    let state = pass.lock().unwrap();
                    if state.slammed {
                        continue;
                    }
                    state.connections.clone()
                };
                tokio::spawn(end.run_until_cancelled_owned(async move {
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                }));
            }
        }));
        Self {
            address,
            state,
            _ends: stop.drop_guard(),
        }
    }

    /// Ends every connection; while `slammed` nobody gets in.
    pub fn cut(&self, slammed: bool) {
        let mut state = self.state.lock().unwrap();
        state.slammed = slammed;
        std::mem::take(&mut state.connections).cancel();
    }
}
