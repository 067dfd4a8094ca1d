use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use shared::bundle::PublicKey;

use super::{CliError, say};
use crate::bundle::{Inspection, Protection, SecretKey, SignError, create, inspect, keygen, verify};
use crate::report::table;

/// `bundle`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key pair to sign bundles with.
    Keygen(KeygenArgs),
    /// Make a signed bundle of an exported folder: check its files, list their digests, sign the list.
    Create(CreateArgs),
    /// Check a bundle as an agent does: signature, digests, manifest, and that graph and golden images are there.
    Verify(VerifyArgs),
    /// Show what a bundle is, signed or not.
    Inspect(InspectArgs),
}

/// Arguments of `bundle keygen`.
#[derive(Debug, clap::Args)]
pub(super) struct KeygenArgs {
    /// File of the secret key, or folder for chexseg.key; the public key stands beside it, ending in .pub.
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,
    /// Keep the secret key unencrypted; otherwise a password is asked for, or read from the standard input.
    #[arg(long)]
    no_password: bool,
}

/// Arguments of `bundle create`.
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Folder of the bundle.
    dir: PathBuf,
    /// Secret key to sign with.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Arguments of `bundle verify`.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Folder of the bundle.
    dir: PathBuf,
    #[command(flatten)]
    keys: Keys,
}

/// Arguments of `bundle inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct InspectArgs {
    /// Folder of the bundle.
    dir: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// Print JSON: the whole manifest, the signature and the files.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Keys {
    /// Public key that is trusted, as its .pub file or its line; may be given more than once [default: this project's]
    #[arg(long = "key", value_name = "FILE|KEY", value_parser = public_key)]
    keys: Vec<PublicKey>,
}

impl Keys {
    fn or_project(&self) -> Vec<PublicKey> {
        if self.keys.is_empty() { vec![PublicKey::project()] } else { self.keys.clone() }
    }
}

pub(super) fn run(command: &Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Keygen(args) => {
            let protection = if args.no_password {
                Protection::None
            } else {
                let io = |source| SignError::Io { path: "the standard input".into(), source };
                Protection::Password(password().map_err(io)?)
            };
            let made = keygen(&args.out, protection)?;
            say!("secret key  {}: keep it, and keep it to yourself", made.secret.display());
            say!("public key  {}", made.public.display());
            say!("devices     trusted_keys = [\"{}\"]", made.line);
        }
        Command::Create(args) => say!("{}", describe(&create(&args.dir, &load_key(&args.key)?)?)),
        Command::Verify(args) => say!("{}", describe(&verify(&args.dir, args.keys.or_project())?)),
        Command::Inspect(args) => {
            let found = inspect(&args.dir, args.keys.or_project())?;
            if args.json {
                say!("{}", serde_json::to_string_pretty(&found).expect("strings and numbers"));
            } else {
                show(&found);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A secret key, its password asked for where it needs one.
pub(super) fn load_key(path: &Path) -> Result<SecretKey, SignError> {
    SecretKey::load(path, password)
}

/// From the standard input, unless that is a terminal: then minisign asks there, without showing it.
fn password() -> io::Result<Option<String>> {
    if io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no password: type it at a terminal or give it on the standard input (keygen: or --no-password)",
        ));
    }
    Ok(Some(password.to_owned()))
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let path = Path::new(text);
    let read =
        path.is_file().then(|| std::fs::read_to_string(path)).transpose().map_err(|e| e.to_string())?;
    read.as_deref().unwrap_or(text).parse().map_err(|error| format!("{error}"))
}

fn describe(bundle: &shared::bundle::Bundle) -> String {
    let manifest = bundle.manifest();
    let signature = bundle.signature().map(ToString::to_string).unwrap_or_default();
    format!("{} {}: {} files, {signature}", manifest.name, manifest.version, bundle.files().count())
}

fn show(found: &Inspection) {
    let manifest = &found.manifest;
    say!("{} {}, {}", manifest.name, manifest.version, manifest.created);
    say!("{}", manifest.description);
    if let Some(signature) = &found.signature {
        say!("{signature}");
    }
    let size = manifest.preprocess.input_size;
    say!("{size} × {size} px, {}", super::export::quantization_name(manifest.graph.quantization));
    let mut classes = table(&["class", "name", "scheme", "code", "meaning", "threshold"], 5);
    for class in &manifest.classes {
        let code = &class.code;
        let threshold = class.threshold.to_string();
        classes.add_row([&class.label, &class.name, &code.scheme, &code.value, &code.meaning, &threshold]);
    }
    say!("{classes}");
    let mut sources = table(&["data", "used for", "terms", "images"], 3);
    for source in &manifest.training.sources {
        sources.add_row([&source.name, &source.usage, &source.license, &source.images.to_string()]);
    }
    say!("{}: {}\n{sources}", manifest.training.network, manifest.training.method);
    let mut metrics = table(&["figure", "protocol", "class", "split", "value", "95% interval", "images"], 4);
    for m in found.key_metrics() {
        let (value, interval) = (format!("{:.4}", m.value), format!("{:.4} to {:.4}", m.low, m.high));
        metrics.add_row([&m.metric, &m.protocol, &m.class, &m.split, &value, &interval, &m.n.to_string()]);
    }
    say!("{metrics}");
    let mut files = table(&["file", "SHA-256", "bytes"], 2);
    for file in &found.files {
        files.add_row([&file.path, &file.sha256, &file.bytes.to_string()]);
    }
    say!("{files}");
}
