//! What may happen to a device in the field, with every part real: DCMTK's `storescu`, the agent, mosquitto, `cxr-central`
//! and SQLite. Whatever happens, each image that a unit was told was taken is one row of central's.
//!
//! `CHEXSEG_LONG=1` makes the loops as long as the promise says; without it they fit a run of all tests.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e_tests::{
    Agent, AgentSetup, Central, CentralSetup, Dice, Exposures, FlakyLink, Mosquitto, Unit, dicom_file,
    free_port, result, shipped_bundle, stored, wait_for,
};
use edge_agent::store::{Origin, Store};
use shared::PIPELINE_VERSION;
use shared::bundle::Bundle;
use shared::message::{Message, result_id};
use shared::phantom::{PhantomParams, render};

use crate::{AGENT, CENTRAL};

/// A short loop, and the long one.
fn loops(short: usize, long: usize) -> usize {
    if std::env::var_os("CHEXSEG_LONG").is_some() { long } else { short }
}

/// Device and central around a broker.
struct Chain {
    central: CentralSetup,
    device: AgentSetup,
    dicom: u16,
}

impl Chain {
    /// `link` is the port by which the device reaches the broker.
    fn new(broker: u16, link: u16, more: &str) -> Self {
        let device = AgentSetup::new(AGENT, link);
        let dicom = free_port();
        device.add_config(&format!("[dicom]\nlisten = '127.0.0.1:{dicom}'\nmax_associations = 256\n{more}"));
        Self { central: CentralSetup::new(CENTRAL, "central-1", broker, ""), device, dicom }
    }

    fn start(&self) -> (Central, Agent) {
        (self.central.start_and_connect(), self.start_agent())
    }

    fn start_agent(&self) -> Agent {
        let agent = self.device.start();
        wait_for("the SCP to listen", || TcpStream::connect(("127.0.0.1", self.dicom)).ok());
        agent
    }

    /// Waits until central has the result of every image, each once.
    fn expect(&self, uids: &[String]) {
        let model = Bundle::open(&shipped_bundle()).unwrap().model_sha256().to_owned();
        let id = |uid: &String| result_id(&uid.parse().unwrap(), &model, PIPELINE_VERSION).to_string();
        self.expect_ids(&uids.iter().map(id).collect::<Vec<_>>());
    }

    fn expect_ids(&self, ids: &[String]) {
        let expected: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(expected.len(), ids.len(), "every image has an id of its own");
        let mut last = usize::MAX;
        // As long as it goes on, it is waited for.
        while last != 0 {
            last = wait_for("central to get more", || {
                let missing = expected.len().saturating_sub(self.central.result_ids().len());
                (missing < last).then_some(missing)
            });
        }
        let rows = self.central.result_ids();
        let distinct: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
        assert_eq!(rows.len(), distinct.len(), "an image has more than one row");
        assert_eq!(distinct, expected);
    }
}

#[test]
fn an_agent_that_is_killed_at_any_moment_loses_no_image_and_doubles_none() {
    let broker = Mosquitto::start();
    let chain = Chain::new(broker.port(), broker.port(), "");
    let central = chain.central.start_and_connect();
    let exposures = Exposures::start(chain.dicom, 1);
    let mut dice = Dice::new(7);
    for _ in 0..loops(200, 1000) {
        let agent = chain.device.start();
        // Sometimes before it serves, mostly while it does.
        if dice.below(8) > 0 {
            wait_for("the SCP to listen", || TcpStream::connect(("127.0.0.1", chain.dicom)).ok());
        }
        std::thread::sleep(Duration::from_millis(dice.below(400) as u64));
        agent.kill();
    }
    let agent = chain.start_agent();
    let before = exposures.count();
    wait_for("the unit to go on", || (exposures.count() > before).then_some(()));
    let taken = exposures.finish();
    println!("{} images were taken", taken.len());
    chain.expect(&taken);
    assert!(agent.stop().success());
    assert!(central.stop().success());
}

#[test]
fn a_broker_that_is_killed_again_and_again_with_and_without_its_memory_costs_nothing() {
    for keep in [false, true] {
        let mut broker = if keep { Mosquitto::persistent() } else { Mosquitto::start() };
        let chain = Chain::new(broker.port(), broker.port(), "");
        let (central, agent) = chain.start();
        let exposures = Exposures::start(chain.dicom, 2);
        let mut dice = Dice::new(11);
        for _ in 0..loops(6, 200) {
            let before = exposures.count();
            wait_for("the unit to go on", || (exposures.count() > before).then_some(()));
            std::thread::sleep(Duration::from_millis(dice.below(300) as u64));
            broker.kill();
            std::thread::sleep(Duration::from_millis(dice.below(300) as u64));
            broker.launch();
        }
        let taken = exposures.finish();
        chain.expect(&taken);
        assert!(agent.stop().success());
        assert!(central.stop().success());
    }
}

#[test]
fn a_line_that_cuts_delays_and_closes_one_side_costs_nothing() {
    let broker = Mosquitto::start();
    let link = FlakyLink::new(broker.port(), 5);
    let chain = Chain::new(broker.port(), link.port(), "");
    let (central, agent) = chain.start();
    let exposures = Exposures::start(chain.dicom, 3);
    let faults = loops(10, 300);
    let mut before = 0;
    while link.faults() < faults {
        before = wait_for("the line to fail", || Some(link.faults()).filter(|n| *n > before));
    }
    link.mend();
    let taken = exposures.finish();
    chain.expect(&taken);
    assert!(agent.stop().success());
    assert!(central.stop().success());
}

#[test]
fn many_units_at_once_are_served_in_bounded_memory() {
    let broker = Mosquitto::start();
    let chain = Chain::new(broker.port(), broker.port(), "");
    let (central, agent) = chain.start();
    let (units, images) = (loops(24, 200), 5);
    let folder = tempfile::tempdir().unwrap();
    let frame = render(&PhantomParams::random(4, 400, 360)).unwrap().frame;
    let sent: Vec<Vec<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..units)
            .map(|unit| {
                let (folder, port, mut frame) = (folder.path(), chain.dicom, frame.clone());
                scope.spawn(move || {
                    let (uids, files): (Vec<String>, Vec<PathBuf>) = (0..images)
                        .map(|image| {
                            let uid = format!("1.2.840.99.{unit}.{image}");
                            frame.samples_mut()[..2].copy_from_slice(&[unit as u16, image as u16]);
                            let path = folder.join(format!("{uid}.dcm"));
                            dicom_file(&path, &frame, &uid);
                            (uid, path)
                        })
                        .unzip();
                    let output = Unit::new(port).store(&[], &files);
                    assert_eq!(stored(&output), images, "{output:?}");
                    uids
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    chain.expect(&sent.concat());
    let peak = agent.peak_memory_mib();
    println!("{units} associations at once, {} images: {peak} MiB at most", units * images);
    assert!(peak < 512, "{peak} MiB");
    assert!(agent.stop().success());
    assert!(central.stop().success());
}

#[test]
fn days_without_a_network_are_made_up_for_when_it_is_back() {
    let broker = Mosquitto::start();
    let chain = Chain::new(broker.port(), broker.port(), "");
    let count = loops(300, 5000);
    {
        let store = Store::open(&chain.device.path("state")).unwrap();
        for n in 0..count as u64 {
            let staged = store.stage(&n.to_le_bytes()[..], 100).unwrap();
            let image = staged.commit(Origin::Unknown).unwrap().id();
            let envelope = result(n);
            store.enqueue(image, envelope.result_id, &[0; 32], &envelope.to_json()).unwrap();
        }
    }
    let (central, agent) = chain.start();
    let expected: Vec<String> = (0..count as u64).map(|n| result(n).result_id.to_string()).collect();
    chain.expect_ids(&expected);
    assert!(agent.stop().success());
    assert!(central.stop().success());
}

/// A small disk of its own; none where the tests may not mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mib: usize) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        println!("SKIPPED: only root may mount a small disk");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_images_and_loses_none() {
    let broker = Mosquitto::reserved();
    let mut broker = broker;
    let chain = Chain::new(broker.port(), broker.port(), "[store]\nreserve_mib = 16\n");
    let Some(disk) = SmallDisk::mount(&chain.device.path("state"), 24) else { return };
    let agent = chain.start_agent();
    let folder = tempfile::tempdir().unwrap();
    let mut frame = render(&PhantomParams::random(6, 1000, 900)).unwrap().frame;
    let mut image = |n: u16| {
        frame.samples_mut()[0] = n;
        let (uid, path) = (format!("1.2.840.77.{n}"), folder.path().join(format!("{n}.dcm")));
        dicom_file(&path, &frame, &uid);
        (uid, path)
    };
    // No broker: results wait, and images with them. Each has 1.8 MB.
    let mut taken = Vec::new();
    let refused = (0..20).find_map(|n| {
        let (uid, path) = image(n);
        let output = Unit::new(chain.dicom).store(&[], &[path]);
        match stored(&output) {
            1 => {
                taken.push(uid);
                None
            }
            _ => Some(output),
        }
    });
    let refused =
        String::from_utf8_lossy(&refused.expect("24 MiB do not hold 20 images").stderr).into_owned();
    assert!(refused.contains("Refused: OutOfResources"), "{refused}");
    assert!(!taken.is_empty());
    // Somebody else takes the rest of the disk.
    let ballast = disk.0.join("ballast");
    let mut size = 32 << 20;
    while size > 4096 {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&ballast).unwrap();
        if std::io::Write::write_all(&mut file, &vec![0; size]).is_err() {
            size /= 2;
        }
    }
    let (_, path) = image(100);
    assert_eq!(stored(&Unit::new(chain.dicom).store(&[], &[path])), 0);
    broker.launch();
    let central = chain.central.start_and_connect();
    std::fs::remove_file(&ballast).unwrap();
    chain.expect(&taken);
    wait_for("room for an image", || {
        let (uid, path) = image(101);
        (stored(&Unit::new(chain.dicom).store(&[], &[path])) == 1).then(|| taken.push(uid))
    });
    chain.expect(&taken);
    assert!(agent.stop().success());
    assert!(central.stop().success());
}

#[test]
fn an_image_that_came_while_nobody_listened_is_acknowledged_by_central_later() {
    for wiped in [false, true] {
        let mut broker = Mosquitto::start();
        let chain = Chain::new(broker.port(), broker.port(), "");
        let agent = chain.start_agent();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dcm");
        dicom_file(&path, &render(&PhantomParams::random(8, 300, 280)).unwrap().frame, "1.2.840.55.1");
        assert_eq!(stored(&Unit::new(chain.dicom).store(&[], &[path])), 1);
        wait_for("an attempt", || agent.log().contains("nobody listens").then_some(()));
        if wiped {
            broker.kill();
            broker.launch();
        }
        let central = chain.central.start_and_connect();
        chain.expect(&["1.2.840.55.1".to_owned()]);
        assert!(agent.stop().success());
        assert!(central.stop().success());
    }
}

#[test]
fn a_clock_that_is_set_back_and_forth_loses_and_delays_nothing() {
    let mut broker = Mosquitto::reserved();
    let mut chain = Chain::new(broker.port(), broker.port(), "");
    let clock = chain.device.clock();
    let folder = tempfile::tempdir().unwrap();
    let mut frame = render(&PhantomParams::random(9, 300, 280)).unwrap().frame;
    let mut taken = Vec::new();
    let mut send = |n: u16| {
        frame.samples_mut()[0] = n;
        let (uid, path) = (format!("1.2.840.66.{n}"), folder.path().join(format!("{n}.dcm")));
        dicom_file(&path, &frame, &uid);
        assert_eq!(stored(&Unit::new(chain.dicom).store(&[], &[path])), 1, "image {n}");
        taken.push(uid);
    };
    let mut agent = chain.start_agent();
    // Each image comes at another time, some agents start at a wrong one, and nobody is there to take results.
    for (n, offset) in ["+0", "-40d", "+3y", "-10y", "+2h"].into_iter().enumerate() {
        clock.set(offset);
        send(2 * n as u16);
        if n > 0 {
            agent.kill();
            agent = chain.start_agent();
        }
        send(2 * n as u16 + 1);
    }
    broker.launch();
    let central = chain.central.start_and_connect();
    clock.set("-1y");
    send(100);
    let years: BTreeSet<String> = agent.log().lines().map(|line| line.chars().take(4).collect()).collect();
    assert!(years.len() >= 3, "the agent saw its clock jump: {years:?}");
    chain.expect(&taken);
    // What was sent in another year is known all the same.
    clock.set("+1y");
    let path = folder.path().join("3.dcm");
    assert_eq!(stored(&Unit::new(chain.dicom).store(&[], &[path])), 1);
    wait_for("the agent to tell", || agent.log().contains("received an object that is known").then_some(()));
    chain.expect(&taken);
    assert!(agent.stop().success());
    assert!(central.stop().success());
}
