use super::*;

pub(super) const MINIMAL: &str = r##"
    name = "tiny"
    [[classes]]
    label = "heart"
    name = "Heart"
    code = { scheme = "SCT", value = "80891009", meaning = "Heart" }
    color = "#ff0000"
"##;

const FOLDER: &str =
    "[data.a]\nformat = \"folder\"\npath = \"a\"\nimage = \"{f}\"\npatient = \"{f}\"\nsplit = \"weak\"\n";

fn parse(extra: &str) -> Result<Config, String> {
    let config: Config = toml::from_str(&format!("{MINIMAL}{extra}")).map_err(|e| e.to_string())?;
    config.validate().map_err(|e| e.to_string())?;
    Ok(config)
}

#[test]
fn defaults_fill_in() {
    let config = parse("").unwrap();
    assert_eq!((config.seed, config.preprocess.input_size), (17, 320));
    assert_eq!(config.labels(), ["heart"]);
}

#[test]
fn mistakes_are_named() {
    for (extra, part) in [
        ("[train]\nstepz = 3\n", "stepz"),
        ("[train]\nphantom_share = 2.0\n", "phantom_share"),
        ("[[derived]]\nlabel = \"lungs\"\nof = [\"left_lung\"]\n", "left_lung"),
        ("[preprocess]\ninput_size = 320\n", "filter"),
        ("[network]\ninput_channels = 3\n", "one channel"),
        ("[[derived]]\nlabel = \"none\"\nof = []\n", "joins no class"),
        ("[augment]\nblur = inf\n", "augment.blur"),
        ("[augment]\nscale = [1.2, 0.8]\n", "augment.scale"),
        ("[augment]\nnoise_probability = 1.5\n", "augment.noise_probability"),
        ("[phantom]\nmin_aspect = nan\n", "min_aspect"),
        ("[phantom.classes]\nribs = [\"heart\"]\n", "phantom.classes.ribs"),
        ("[phantom.classes]\nheart = []\n", "phantom.classes.heart"),
        ("[phantom]\nsize = 100\nmin_aspect = 0.5\n", "must reach 64"),
        ("[export]\nmask_max_side = 9000\n", "mask_max_side"),
        ("[data.a]\npath = \"a\"\n", "missing field `format`"),
        ("[data.a]\nformat = \"zip\"\n", "unknown variant `zip`"),
        (&format!("{FOLDER}pathh = \"b\"\n"), "pathh"),
        (&format!("{FOLDER}[data.a.classes]\nlung = [\"l\"]\n"), "\"lung\" is none of the classes"),
        (&format!("{FOLDER}[data.a.classes]\nheart = [\"h\"]\n"), "data.a.mask: classes need it"),
        (&format!("{FOLDER}mask = \"m\"\n[data.a.classes]\nheart = []\n"), "data.a.classes.heart"),
        (
            &format!("{FOLDER}[data.a.findings]\nx = {{ column = \"x\", present = [\"0\"] }}\n"),
            "data.a.findings.x: \"0\" stands in two lists",
        ),
        (
            &format!("{FOLDER}mask = \"m\"\nabsent = [\"lung\"]\n[data.a.classes]\nheart = [\"h\"]\n"),
            "data.a.absent: \"lung\"",
        ),
        ("[consistency]\nclasses = [\"lung\"]\n", "consistency.classes: \"lung\""),
        ("[distillation]\nclasses = [\"lung\"]\n", "distillation.classes: \"lung\""),
        ("[train]\ndrawn_devices = 1.5\n", "train.drawn_devices: must lie in 0..=1"),
        ("[train]\ndrawn_devices = 0.5\n", "train.drawn_devices: needs a class"),
        ("[pretrain]\ndrawn_devices = 0.5\n", "pretrain.drawn_devices: has no effect"),
        ("[export]\nmin_agreement = 0.2\n", "min_agreement"),
        ("[export.anatomy]\nheart = \"cor\"\n", "anatomy.heart = cor"),
        ("[export.cardiothoracic_ratio]\nenlarged_from = 0.5\n", "[anatomy] names"),
        ("[export.quality]\ntilted_from = 100.0\n", "quality.tilted_from = 100"),
        ("[export.quality]\ntilted = 9.0\n", "unknown field `tilted`"),
    ] {
        let error = parse(extra).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn digest_follows_what_shapes_the_weights_only() {
    let digest = |extra: &str| parse(extra).unwrap().digest(Stage::Train);
    let reference = digest("");
    assert_eq!(reference, digest("[train]\nlog_every = 3\n"));
    assert_ne!(reference, digest("[train]\nlearning_rate = 0.5\n"));
    assert_eq!(reference, digest("[pretrain]\nlearning_rate = 0.5\n"));
    assert_ne!(reference, digest("[augment]\nnoise = 0.5\n"));
}

#[test]
fn shipped_experiments_are_valid_and_their_data_imports() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("experiment.toml"))
        .filter(|path| path.exists())
        .collect();
    assert!(files.len() >= 5, "{files:?}");
    for path in files {
        let config = Config::load(&path).unwrap();
        match crate::dataset::data_root() {
            Ok(root) if config.data.values().all(|spec| root.join(spec.path()).is_dir()) => {
                assert!(!config.index(&root).unwrap().records.is_empty());
            }
            Ok(root) => println!("{} lacks the data of {}", root.display(), path.display()),
            Err(error) => println!("skipped the data of {}: {error}", path.display()),
        }
    }
}
