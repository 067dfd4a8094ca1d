use super::AgentConfig;

/// What differs between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// `log.level`, which is in force at once.
    pub log_level: bool,
    /// Keys and sections that are read at the start only.
    pub needs_restart: Vec<&'static str>,
}

impl AgentConfig {
    /// What changes from this configuration to another.
    pub fn changes(&self, to: &Self) -> Changes {
        // Without `..`: whoever adds a key decides here what its change means.
        let Self {
            source: _,
            site,
            device,
            bundle,
            trusted_keys,
            allow_unsigned,
            state_dir,
            threads,
            mqtt,
            watch_folder,
            dicom,
            store,
            http,
            limits,
            log,
        } = self;
        let differs = [
            ("site", *site != to.site),
            ("device", *device != to.device),
            ("bundle", *bundle != to.bundle),
            ("trusted_keys", *trusted_keys != to.trusted_keys),
            ("allow_unsigned", *allow_unsigned != to.allow_unsigned),
            ("state_dir", *state_dir != to.state_dir),
            ("threads", *threads != to.threads),
            ("mqtt", *mqtt != to.mqtt),
            ("watch_folder", *watch_folder != to.watch_folder),
            ("dicom", *dicom != to.dicom),
            ("store", *store != to.store),
            ("http", *http != to.http),
            ("limits", *limits != to.limits),
            ("log.format", log.format != to.log.format),
        ];
        Changes {
            log_level: log.level != to.log.level,
            needs_restart: differs.into_iter().filter(|d| d.1).map(|d| d.0).collect(),
        }
    }
}
