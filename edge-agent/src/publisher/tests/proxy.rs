use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands before a broker on an address that stays, so that brokers can go and come behind it.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    /// The broker behind; none refuses connections. A change ends those that are open.
    broker: watch::Sender<Option<SocketAddr>>,
    accepted: Arc<AtomicUsize>,
    /// To connections accepted before this many, what the broker says is swallowed.
    deaf: Arc<AtomicUsize>,
}

impl Proxy {
    pub(super) async fn start(broker: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = watch::channel(broker);
        let (accepted, deaf) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, threshold) = (Arc::clone(&accepted), Arc::clone(&deaf));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut broker = receiver.clone();
                let target = *broker.borrow_and_update();
                let number = count.fetch_add(1, Ordering::SeqCst);
                let threshold = Arc::clone(&threshold);
                tokio::spawn(async move {
                    let Some(target) = target else { return };
                    let Ok(upstream) = TcpStream::connect(target).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_broker, to_broker) = upstream.into_split();
                    tokio::select! {
                        () = pump(from_client, to_broker, || false) => {}
                        () = pump(from_broker, to_client, || number < threshold.load(Ordering::SeqCst)) => {}
                        _ = broker.changed() => {}
                    }
                });
            }
        });
        Self { address, broker: sender, accepted, deaf }
    }

    /// From now on, open connections hear nothing.
    pub(super) fn deafen(&self) {
        self.deaf.store(self.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    pub(super) fn switch(&self, broker: Option<SocketAddr>) {
        self.broker.send_replace(broker);
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallow: impl Fn() -> bool) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if !swallow() && to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
