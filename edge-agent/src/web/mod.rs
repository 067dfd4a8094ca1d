//! The listener for monitoring: `/metrics` (OpenMetrics), `/healthz` and `/readyz`.
//!
//! It serves whoever asks, so everything is bounded: connections, the time of each, the size of a request's head, and
//! one request a connection. It answers from the moment when bundle and store are open.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::health::{Vitals, system};
use crate::store::{Census, Store};

/// Connections at a time; more wait in the system's queue.
const CONNECTIONS: usize = 16;
/// For a whole connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a request's head to arrive.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// For the store to be counted; without an answer the last counts stand.
const COUNT_PATIENCE: Duration = Duration::from_secs(2);
/// Largest head of a request, in bytes.
const HEAD: usize = 8 << 10;
/// Pause after a failure to accept, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A listener that is bound.
pub struct Web {
    listener: TcpListener,
    state: Arc<State>,
}

struct State {
    vitals: Arc<Vitals>,
    store: Store,
}

impl Web {
    /// Binds the address.
    ///
    /// # Errors
    /// If it is taken or not of this machine.
    pub async fn bind(listen: SocketAddr, vitals: Arc<Vitals>, store: Store) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        Ok(Self { listener, state: Arc::new(State { vitals, store }) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped.
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let state = Arc::clone(&self.state);
                    tokio::spawn(async move {
                        serve(stream, state).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the monitoring listener cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(&request, &state).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that breaks off or dawdles is no concern of ours.
    let _ = timeout(PATIENCE, connection).await;
}

async fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into());
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET"));
        return response;
    }
    let now = Instant::now();
    match request.uri().path() {
        "/healthz" => verdict(state.vitals.progress.fault(now)),
        "/readyz" => verdict(obstacle(&state.vitals, now)),
        "/metrics" => metrics(state).await,
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".into()),
    }
}

fn obstacle(vitals: &Vitals, now: Instant) -> Option<String> {
    vitals
        .progress
        .obstacle(now)
        .or_else(|| vitals.metrics.closed_gate().map(|gate| format!("intake {gate} is closed")))
}

fn verdict(problem: Option<String>) -> Response<Full<Bytes>> {
    match problem {
        None => text(StatusCode::OK, "ok\n".into()),
        Some(problem) => text(StatusCode::SERVICE_UNAVAILABLE, problem + "\n"),
    }
}

async fn metrics(state: &State) -> Response<Full<Bytes>> {
    if let Ok(Ok(census)) = timeout(COUNT_PATIENCE, state.store.run(Store::census)).await {
        let census: Census = census;
        state.vitals.metrics.set_waiting(&census);
    }
    state.vitals.metrics.set_system(system::disk(state.store.dir()), system::temperature_c());
    match state.vitals.metrics.encode() {
        Ok(body) => respond(StatusCode::OK, OPENMETRICS, body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    respond(status, TEXT, body)
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use uuid::Uuid;

    use super::*;
    use crate::health::progress::StoreState;

    struct Served {
        address: SocketAddr,
        vitals: Arc<Vitals>,
        _dir: tempfile::TempDir,
    }

    async fn start() -> Served {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.stage(&b"x"[..], 10).unwrap().commit(crate::store::Origin::Unknown).unwrap();
        let vitals = Arc::new(Vitals::new(Uuid::nil()));
        let listen = "127.0.0.1:0".parse().unwrap();
        let web = Web::bind(listen, Arc::clone(&vitals), store).await.unwrap();
        let address = web.address().unwrap();
        tokio::spawn(web.run());
        Served { address, vitals, _dir: dir }
    }

    impl Served {
        async fn send(&self, request: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            timeout(Duration::from_secs(60), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
            answer
        }

        async fn get(&self, path: &str) -> String {
            self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
        }
    }

    #[tokio::test]
    async fn metrics_count_what_waits_at_this_moment() {
        let served = start().await;
        let mut told = false;
        // What a store that is slow to answer was not heard to say is told the next time.
        for _ in 0..20 {
            let answer = served.get("/metrics").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("application/openmetrics-text"), "{answer}");
            assert!(answer.ends_with("# EOF\n"), "{answer}");
            told = answer.contains("\ncxr_images_waiting 1.0\n");
            if told {
                break;
            }
        }
        assert!(told);
    }

    #[tokio::test]
    async fn ready_needs_store_model_and_intake_but_no_broker() {
        let served = start().await;
        let gate = served.vitals.metrics.gate("watch_folder");
        assert!(served.get("/readyz").await.contains("intake watch_folder is closed"));
        gate.set_open(true);
        assert!(!served.vitals.metrics.is_connected());
        assert!(served.get("/readyz").await.starts_with("HTTP/1.1 200"));
        served.vitals.progress.set_store(StoreState::Full, Instant::now());
        let answer = served.get("/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("full"), "{answer}");
        assert!(served.get("/healthz").await.starts_with("HTTP/1.1 200"), "a restart makes no room");
    }

    #[tokio::test]
    async fn other_methods_other_paths_and_long_heads_are_refused() {
        let served = start().await;
        assert!(served.send("POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 405"));
        assert!(served.get("/etc/passwd").await.starts_with("HTTP/1.1 404"));
        let long = format!("/metrics?{}", "a".repeat(2 * HEAD));
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        // The listener may close before all of it is written.
        let _ = stream.write_all(format!("GET {long} HTTP/1.1\r\n\r\n").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }

    #[tokio::test]
    async fn silent_peers_do_not_keep_others_out_for_ever() {
        let served = start().await;
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            silent.push(TcpStream::connect(served.address).await.unwrap());
        }
        assert!(served.get("/healthz").await.starts_with("HTTP/1.1 200"));
    }
}
