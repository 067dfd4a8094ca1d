//! What `deploy/` installs, started as it is: who gets in, who may say what, and a device that works with it.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e_tests::{AgentSetup, PATIENCE, Site, phantom_png, wait_for, workspace};
use edge_agent::config::MqttConfig;
use edge_agent::publisher::mqtt::connect_options;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, Publish, PublishProperties};
use rumqttc::v5::{Client, Connection, Event};
use shared::message::{Ack, Command as Request, Message, Outcome, Response, ResultEnvelope, SCHEMA};

use crate::{AGENT, CENTRAL};

/// One connection, used step by step.
struct Peer {
    client: Client,
    connection: Connection,
    /// What came while something else was awaited.
    inbox: Vec<Publish>,
}

impl Peer {
    fn connect(config: &MqttConfig, id: &str) -> Result<Self, String> {
        let (client, connection) = Client::new(connect_options(config, id).unwrap(), 16);
        let mut peer = Self { client, connection, inbox: Vec::new() };
        peer.wait(|packet| matches!(packet, Packet::ConnAck(_)).then_some(()))?;
        Ok(peer)
    }

    /// The first packet of which `pick` makes something.
    fn wait<T>(&mut self, mut pick: impl FnMut(&Packet) -> Option<T>) -> Result<T, String> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.connection.recv_timeout(Duration::from_secs(1)) {
                Err(_) => {}
                Ok(Ok(Event::Incoming(packet))) => {
                    if let Some(value) = pick(&packet) {
                        return Ok(value);
                    }
                    if let Packet::Publish(publish) = packet {
                        self.inbox.push(publish);
                    }
                }
                Ok(Ok(Event::Outgoing(_))) => {}
                Ok(Err(error)) => return Err(error.to_string()),
            }
        }
        panic!("waited {PATIENCE:?} in vain");
    }

    fn subscribe(&mut self, filter: &str) {
        self.client.try_subscribe(filter, QoS::AtLeastOnce).unwrap();
        self.wait(|packet| matches!(packet, Packet::SubAck(_)).then_some(())).unwrap();
    }

    fn publish(&mut self, topic: &str, payload: Vec<u8>) -> PubAckReason {
        self.publish_with(topic, payload, PublishProperties::default())
    }

    fn publish_with(&mut self, topic: &str, payload: Vec<u8>, properties: PublishProperties) -> PubAckReason {
        self.client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties).unwrap();
        self.wait(|packet| match packet {
            Packet::PubAck(ack) => Some(ack.reason),
            _ => None,
        })
        .unwrap()
    }

    /// The next message on a topic that ends so.
    fn next(&mut self, end: &str) -> Publish {
        let fits = |publish: &Publish| publish.topic.ends_with(end.as_bytes());
        if let Some(i) = self.inbox.iter().position(fits) {
            return self.inbox.remove(i);
        }
        self.wait(|packet| match packet {
            Packet::Publish(publish) if fits(publish) => Some(publish.clone()),
            _ => None,
        })
        .unwrap()
    }

    fn topics_heard(&self) -> Vec<String> {
        self.inbox.iter().map(|p| String::from_utf8_lossy(&p.topic).into_owned()).collect()
    }
}

#[test]
fn a_device_writes_its_own_topics_and_reads_its_own_acks_and_commands_only() {
    let mut site = Site::install(AGENT, CENTRAL);
    site.launch_broker();
    let mut central = Peer::connect(&site.client(Some("central")), "central").unwrap();
    central.subscribe("cxr/v1/#");
    let mut device = Peer::connect(&site.client(Some("north.cart-3")), "cart-3").unwrap();
    for channel in ["status", "birth", "health", "result", "quality", "rsp/ping"] {
        let topic = format!("cxr/v1/north/cart-3/{channel}");
        assert_eq!(device.publish(&topic, b"x".to_vec()), PubAckReason::Success, "{topic}");
        central.next(&topic);
    }
    for denied in [
        "cxr/v1/north/cart-4/result",
        "cxr/v1/south/cart-3/result",
        "cxr/v1/north/cart-3/ack",
        "cxr/v1/north/cart-3/cmd/ping",
        "cxr/v1/north/cart-4/cmd/ping",
        "cxr/v1/north/cart-3/result/x",
        "cxr/v1/north/cart-3",
        "other",
    ] {
        assert_eq!(device.publish(denied, b"x".to_vec()), PubAckReason::NotAuthorized, "{denied}");
    }
    // Whatever a client calls itself, its certificate says who it is.
    let mut liar = Peer::connect(&site.client(Some("north.cart-4")), "north/cart-3").unwrap();
    assert_eq!(liar.publish("cxr/v1/north/cart-3/result", b"x".to_vec()), PubAckReason::NotAuthorized);

    device.subscribe("#");
    liar.publish("cxr/v1/north/cart-4/result", b"x".to_vec());
    central.next("north/cart-4/result");
    assert_eq!(central.topics_heard(), [""; 0], "nothing that was denied came through");
    for topic in ["north/cart-4/ack", "north/cart-4/cmd/ping", "north/cart-3/cmd/ping", "north/cart-3/ack"] {
        assert_eq!(
            central.publish(&format!("cxr/v1/{topic}"), b"x".to_vec()),
            PubAckReason::Success,
            "{topic}"
        );
    }
    device.next("north/cart-3/ack");
    assert_eq!(device.topics_heard(), ["cxr/v1/north/cart-3/cmd/ping"], "nothing but its own came before");
    let denied = central.publish("cxr/v1/north/cart-3/result", b"x".to_vec());
    assert_eq!(denied, PubAckReason::NotAuthorized, "central speaks for no device");
}

#[test]
fn who_has_no_certificate_of_the_site_or_a_revoked_one_does_not_get_in() {
    let mut site = Site::install(AGENT, CENTRAL);
    site.launch_broker();
    assert!(
        Peer::connect(&site.client(Some("north.cart-4")), "device").is_ok(),
        "else the rest proves nothing"
    );
    assert!(Peer::connect(&site.client(None), "anonymous").is_err());
    let plain = MqttConfig { tls: None, ..site.client(None) };
    assert!(Peer::connect(&plain, "plain").is_err());

    let foreign = site.path("foreign");
    for arguments in [&["init", "Another site"][..], &["central"]] {
        let script = workspace().join("deploy/ca.sh");
        let made = Command::new("sh").arg(script).args(arguments).env("CXR_CA", &foreign).status().unwrap();
        assert!(made.success());
    }
    assert!(Peer::connect(&site.client_of(&foreign, Some("central")), "foreign").is_err());

    let certificate = site.path("etc/chexseg/ca/issued/north.cart-4.pem");
    site.script("ca.sh", &["revoke", certificate.to_str().unwrap()]);
    site.script("install.sh", &["broker", "localhost"]);
    site.kill_broker();
    site.launch_broker();
    assert!(Peer::connect(&site.client(Some("north.cart-4")), "device").is_err(), "it was revoked");
    assert!(Peer::connect(&site.client(Some("north.cart-3")), "device").is_ok());
}

#[test]
fn an_authority_is_made_once_keeps_its_keys_to_itself_and_names_no_one_beyond_a_site() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::install(AGENT, CENTRAL);
    let mode = |path: &str| std::fs::metadata(site.path(path)).unwrap().permissions().mode() & 0o777;
    for (path, expected) in [
        ("etc/chexseg", 0o755),
        ("etc/chexseg/ca", 0o700),
        ("etc/chexseg/ca/ca.key", 0o600),
        ("etc/chexseg/ca/issued/central.key", 0o600),
        ("etc/chexseg/north.cart-3.key", 0o640),
        ("etc/mosquitto/chexseg/broker.key", 0o640),
        ("etc/chexseg/agent.toml", 0o644),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
    let key = std::fs::read(site.path("etc/chexseg/ca/ca.key")).unwrap();
    for refused in [
        &["init"][..],
        &["device", "north", "cart-3/result"],
        &["device", "north", "+"],
        &["device", "", "cart-3"],
        &["device", "north", "Cart"],
        &["device", "north", "a23456789012345678901234567890123"],
        &["broker", "host,DNS:other"],
        &["device", "north"],
    ] {
        let output = Command::new("sh")
            .arg(workspace().join("deploy/ca.sh"))
            .args(refused)
            .env("CXR_CA", site.path("etc/chexseg/ca"))
            .output()
            .unwrap();
        assert!(!output.status.success() && !output.stderr.is_empty(), "{refused:?}");
    }
    assert_eq!(std::fs::read(site.path("etc/chexseg/ca/ca.key")).unwrap(), key);
}

#[test]
fn what_is_installed_for_central_passes_its_check() {
    let mut site = Site::install(AGENT, CENTRAL);
    site.launch_broker();
    std::fs::create_dir_all(site.path("var/lib/chexseg-central")).unwrap();
    let config = site.path("central.toml");
    std::fs::write(&config, site.adapted("etc/chexseg/central.toml")).unwrap();
    let check = Command::new(CENTRAL).args(["check", "--config"]).arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success() && said.contains("localhost"), "{said}");
}

#[test]
fn an_installed_device_works_through_a_wiped_broker_and_answers_commands() {
    let mut site = Site::install(AGENT, CENTRAL);
    site.launch_broker();
    let setup = AgentSetup::new(AGENT, site.port());
    let config = site.adapted("etc/chexseg/agent.toml");
    let inbox = site.path("srv/radiographs");
    std::fs::create_dir_all(&inbox).unwrap();
    // Another test may hold the usual port of the monitoring listener.
    setup.write_config(&config.replace("127.0.0.1:9464", "127.0.0.1:0"));
    let check = setup.command(&["check", "--config"]).arg(setup.config()).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));

    let mut central = Peer::connect(&site.client(Some("central")), "central").unwrap();
    central.subscribe("cxr/v1/#");
    let agent = setup.start();
    phantom_png(&inbox.join("a.png"), 7, 600, 500);
    let first = ResultEnvelope::parse(&central.next("/result").payload).unwrap();
    assert!(!first.findings.is_empty());

    // The broker had taken it over, and forgets everything before central has said a word.
    site.kill_broker();
    site.wipe_broker();
    site.launch_broker();
    let mut central = Peer::connect(&site.client(Some("central")), "central").unwrap();
    central.subscribe("cxr/v1/#");
    let again = ResultEnvelope::parse(&central.next("/result").payload).unwrap();
    assert_eq!((again.result_id, again.replayed), (first.result_id, true));
    let ack = Ack { schema: SCHEMA, result_id: again.result_id }.to_json();
    central.publish("cxr/v1/north/cart-3/ack", ack.clone());
    // Acknowledgements and commands are taken in order, so this counts after that.
    let properties = PublishProperties {
        response_topic: Some("cxr/v1/north/cart-3/rsp/desk-1".into()),
        correlation_data: Some("17".into()),
        ..PublishProperties::default()
    };
    central.publish_with("cxr/v1/north/cart-3/cmd/queue", Request { schema: SCHEMA }.to_json(), properties);
    let answer = central.next("/rsp/desk-1");
    assert_eq!(answer.properties.unwrap().correlation_data.as_deref(), Some(&b"17"[..]));
    let outcome = Response::parse(&answer.payload).unwrap().outcome;
    let Outcome::Queue { images_waiting, results_waiting, unacknowledged, set_aside, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!([images_waiting, results_waiting, unacknowledged, set_aside], [0; 4]);

    // What can change while it runs changes, and the rest is told.
    let changed =
        config.replace("level = \"info\"", "level = \"debug\"").replace("threads = 1", "threads = 2");
    setup.write_config(&changed.replace("127.0.0.1:9464", "127.0.0.1:0"));
    let reload = Request { schema: SCHEMA }.to_json();
    central.publish("cxr/v1/north/cart-3/cmd/reload-config", reload);
    let answer = Response::parse(&central.next("/rsp/reload-config").payload).unwrap();
    let reloaded =
        Outcome::Reloaded { applied: vec!["log.level".into()], needs_restart: vec!["threads".into()] };
    assert_eq!(answer.outcome, reloaded);
    central.publish("cxr/v1/north/cart-3/ack", ack);
    wait_for("a line of level debug", || agent.log().contains("acknowledged again").then_some(()));
    assert!(agent.stop().success());
}

#[test]
fn systemd_takes_the_units_and_finds_them_closed() {
    if !Command::new("systemd-analyze").arg("--version").output().is_ok_and(|o| o.status.success()) {
        println!("SKIPPED: systemd-analyze is absent");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["edge-agent", "cxr-central"] {
        let unit =
            std::fs::read_to_string(workspace().join(format!("deploy/systemd/{name}.service"))).unwrap();
        let file = dir.path().join(format!("{name}.service"));
        // It wants to see the programs.
        std::fs::write(&file, unit.replace(&format!("/usr/bin/{name}"), AGENT)).unwrap();
        let analyze = |arguments: &[&str]| {
            let output = Command::new("systemd-analyze").args(arguments).arg(&file).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            (output.status.success(), said)
        };
        let (_, said) = analyze(&["verify"]);
        let about_it: Vec<_> = said.lines().filter(|line| line.contains(name)).collect();
        assert_eq!(about_it, [""; 0], "{name}");
        let (closed, said) = analyze(&["security", "--offline=true", "--threshold=20", "--no-pager"]);
        assert!(closed, "{name}: {said}");
    }
}
