//! An MQTT 5 broker inside this process.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// Ports tried: another process may take a free one before the broker does.
const PORTS: usize = 5;
/// Looks at a port before it is given up.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A broker on a free port of the loopback interface. It runs until the process ends: rumqttd cannot be
/// stopped.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
}

impl EmbeddedBroker {
    /// Starts one that takes packets of at most `max_packet_bytes`. Blocks until it listens.
    ///
    /// # Errors
    /// If no port can be had or no thread started.
    pub fn start(max_packet_bytes: usize) -> io::Result<Self> {
        for _ in 0..PORTS {
            let address = free_port()?;
            let mut broker = Broker::new(config(address, max_packet_bytes));
            // Returns only when it cannot listen.
            let thread = thread::Builder::new().name("broker".into()).spawn(move || drop(broker.start()))?;
            for _ in 0..LOOKS {
                if TcpStream::connect(address).is_ok() {
                    return Ok(Self { address });
                }
                if thread.is_finished() {
                    break;
                }
                thread::sleep(BETWEEN_LOOKS);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "the embedded MQTT broker found no port to listen on"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn config(listen: SocketAddr, max_packet_bytes: usize) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5000,
        max_payload_size: max_packet_bytes,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "demo".into(), listen, tls: None, next_connection_delay_ms: 1, connections };
    Config {
        router: RouterConfig {
            max_connections: 64,
            max_outgoing_packet_count: 200,
            max_segment_size: 16 << 20,
            max_segment_count: 4,
            ..RouterConfig::default()
        },
        v5: Some(HashMap::from([("demo".to_owned(), server)])),
        ..Config::default()
    }
}
