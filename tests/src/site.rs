use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use edge_agent::config::{MqttConfig, TlsConfig};
use tempfile::TempDir;

use crate::mosquitto::{self, free_port};
use crate::workspace;

/// A site as `deploy/install.sh` sets it up, below a temporary root: authority, certificates, a device's configuration,
/// and a mosquitto that runs with the installed configuration. Only the port is another.
pub struct Site {
    root: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Site {
    /// Installs broker, central and the device `north/cart-3`, and a certificate for `north/cart-4`, around the programs of
    /// device and central.
    ///
    /// # Panics
    /// If a script fails.
    pub fn install(agent: &str, central: &str) -> Self {
        let root = tempfile::tempdir().expect("temporary folder");
        let bin = root.path().join("bin");
        std::fs::create_dir(&bin).expect("temporary folder is writable");
        for (program, name) in [(agent, "edge-agent"), (central, "cxr-central")] {
            std::fs::copy(program, bin.join(name)).expect("it was built");
        }
        let site = Self { root, port: free_port(), process: None };
        site.script("install.sh", &["broker", "localhost", "127.0.0.1"]);
        site.script("install.sh", &["central", "localhost"]);
        site.script("install.sh", &["device", "north", "cart-3", "localhost"]);
        site.script("ca.sh", &["device", "north", "cart-4"]);
        site
    }

    /// Runs one of the scripts in `deploy/` below the site's root.
    ///
    /// # Panics
    /// If it fails.
    pub fn script(&self, name: &str, arguments: &[&str]) -> String {
        let output = Command::new("sh")
            .arg(workspace().join("deploy").join(name))
            .args(arguments)
            .env("DESTDIR", self.root.path())
            .env("CXR_BIN", self.root.path().join("bin"))
            .env("CXR_CA", self.path("etc/chexseg/ca"))
            .output()
            .expect("sh exists");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {arguments:?}: {said}");
        said
    }

    /// A file below the site's root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The broker's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An installed file, with its paths led below the site's root and the port replaced.
    ///
    /// # Panics
    /// If it has no path or no port to replace.
    pub fn adapted(&self, file: &str) -> String {
        let text = std::fs::read_to_string(self.path(file)).expect("it was installed");
        let mut adapted = text.replace("8883", &self.port.to_string());
        assert_ne!(adapted, text, "{file} names the port");
        for folder in ["/etc/", "/var/lib/", "/usr/share/", "/srv/"] {
            adapted = adapted.replace(folder, &format!("{}{folder}", self.root.path().display()));
        }
        adapted
    }

    /// Starts the broker with the installed configuration.
    ///
    /// # Panics
    /// If it does not listen.
    pub fn launch_broker(&mut self) {
        assert!(self.process.is_none(), "mosquitto runs already");
        let state = self.path("var/lib/mosquitto");
        std::fs::create_dir_all(&state).expect("temporary folder is writable");
        // Started as root it would change to a user that may not read the temporary folder.
        let user = Command::new("id").arg("-un").output().expect("id exists").stdout;
        let text = format!(
            "{}\nuser {}",
            self.adapted("etc/mosquitto/mosquitto.conf"),
            String::from_utf8_lossy(&user)
        );
        self.process = Some(mosquitto::start(self.root.path(), &text, self.port));
    }

    /// Kills the broker without warning.
    pub fn kill_broker(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child of ours can be killed");
            process.wait().expect("a killed child ends");
        }
    }

    /// Removes what the broker kept.
    pub fn wipe_broker(&self) {
        assert!(self.process.is_none(), "mosquitto still runs");
        std::fs::remove_dir_all(self.path("var/lib/mosquitto")).expect("it was there");
    }

    /// How `name` (`north.cart-3`, `central`) connects; nobody where it is none.
    pub fn client(&self, name: Option<&str>) -> MqttConfig {
        self.client_of(&self.path("etc/chexseg/ca"), name)
    }

    /// How `name` of another authority connects.
    pub fn client_of(&self, authority: &Path, name: Option<&str>) -> MqttConfig {
        let issued = |end| name.map(|name| authority.join("issued").join(format!("{name}.{end}")));
        let tls =
            TlsConfig { ca: self.path("etc/chexseg/ca/ca.pem"), cert: issued("pem"), key: issued("key") };
        MqttConfig { tls: Some(tls), keep_alive_s: 5, ..MqttConfig::plain("localhost", self.port) }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill_broker();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("mosquitto.log")).unwrap_or_default();
            eprintln!("--- mosquitto's log:\n{log}");
        }
    }
}
