use std::path::Path;
use std::process::{Command, Stdio};

/// Makes an authority and a member certificate for 127.0.0.1: `ca.pem`, `cert.pem` and `key.pem` in a folder.
///
/// # Panics
/// If there is no `openssl`.
pub fn certificates(dir: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(dir).stderr(Stdio::null());
        assert!(command.status().expect("openssl is installed").success(), "openssl {arguments}");
    };
    let new = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2";
    openssl(&format!("{new} -subj /CN=authority -keyout ca.key -out ca.pem"));
    openssl(&format!(
        "{new} -subj /CN=member -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
         -CA ca.pem -CAkey ca.key -keyout key.pem -out cert.pem"
    ));
}
