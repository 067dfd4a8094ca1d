//! What types cannot say of a configuration.

use std::collections::BTreeMap;

use super::{Config, ConfigError, ConsistencySpec, ExportSpec, Stage};
use crate::dataset::{DataSpec, PhantomSpec};

impl Config {
    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |field: &str, reason: String| Err(ConfigError::Field { field: field.to_owned(), reason });
        if !is_slug(&self.name) {
            return bad(
                "name",
                format!("\"{}\" must be of a-z, 0-9 and -, for it names a folder", self.name),
            );
        }
        if self.classes.is_empty() {
            return bad("classes", "name at least one".into());
        }
        let labels = self.labels();
        for (i, class) in self.classes.iter().enumerate() {
            if !is_label(&class.label) {
                return bad("classes.label", format!("\"{}\" must be of a-z, 0-9 and _", class.label));
            }
            if labels[..i].contains(&class.label) {
                return bad("classes.label", format!("\"{}\" stands twice", class.label));
            }
            if !(0.0..1.0).contains(&class.min_area_fraction) {
                let reason = format!("{} must lie from 0 to below 1", class.min_area_fraction);
                return bad("classes.min_area_fraction", reason);
            }
            // Of the candidates the last is 0.95.
            if !(0.0..=0.95).contains(&class.min_threshold) {
                let reason = format!("{} must lie from 0 to 0.95", class.min_threshold);
                return bad("classes.min_threshold", reason);
            }
            if !(0.0..=1.0).contains(&class.min_part_fraction) {
                let reason = format!("{} must lie from 0 to 1", class.min_part_fraction);
                return bad("classes.min_part_fraction", reason);
            }
            let free = |label: &String| self.classes.iter().any(|c| c.label == *label && c.within.is_empty());
            if let Some(label) = class.within.iter().find(|label| !free(label)) {
                return bad(
                    "classes.within",
                    format!("\"{label}\" is none of the classes that may lie anywhere"),
                );
            }
        }
        for (i, derived) in self.derived.iter().enumerate() {
            let taken = labels.contains(&derived.label)
                || self.derived[..i].iter().any(|earlier| earlier.label == derived.label);
            if taken || !is_label(&derived.label) {
                return bad(
                    "derived.label",
                    format!("\"{}\" is taken or not of a-z, 0-9 and _", derived.label),
                );
            }
            if derived.of.is_empty() {
                return bad("derived.of", format!("\"{}\" joins no class", derived.label));
            }
            if let Some(unknown) = derived.of.iter().find(|label| !labels.contains(label)) {
                return bad("derived.of", format!("\"{unknown}\" is none of the classes"));
            }
        }
        for (name, spec) in &self.data {
            let mapped = spec.classes().into_iter().flat_map(BTreeMap::keys).map(|label| ("classes", label));
            let absent = spec.absent().into_iter().flatten().map(|label| ("absent", label));
            if let Some((field, unknown)) = mapped.chain(absent).find(|(_, label)| !labels.contains(label)) {
                return bad(&format!("data.{name}.{field}"), format!("\"{unknown}\" is none of the classes"));
            }
            if let Some((field, reason)) = spec.fault() {
                return bad(&format!("data.{name}.{field}"), reason);
            }
        }
        self.preprocess.validate().or_else(|error| bad("preprocess", error.to_string()))?;
        if self.network.input_channels != 1 {
            return bad("network.input_channels", "radiographs have one channel".into());
        }
        if !(1..=8).contains(&self.network.members) {
            return bad("network.members", format!("{} must lie from 1 to 8", self.network.members));
        }
        if self.network.members > 1 && self.network.auxiliary {
            return bad("network.auxiliary", "an ensemble has no auxiliary head".into());
        }
        let size = self.preprocess.input_size;
        if let Err(error) = self.graph().shapes(size, size) {
            return bad("network", error.to_string());
        }
        if let Some((field, reason)) = self.augment.fault() {
            return bad(&format!("augment.{field}"), reason.into());
        }
        let PhantomSpec { size, min_aspect, .. } = self.phantom;
        if !(64..=4096).contains(&size) || !(0.1..=1.0).contains(&min_aspect) {
            return bad("phantom", "size must lie in 64..=4096 and min_aspect in 0.1..=1".into());
        }
        if (size as f32 * min_aspect).round() < 64.0 {
            return bad("phantom", "size times min_aspect must reach 64".into());
        }
        for (label, structures) in &self.phantom.classes {
            if !labels.contains(label) || structures.is_empty() {
                let reason = "must be one of the classes and join at least one structure".into();
                return bad(&format!("phantom.classes.{label}"), reason);
            }
        }
        let ExportSpec { mask_max_side, min_agreement, .. } = self.export;
        if !(16..=8192).contains(&mask_max_side) {
            return bad("export.mask_max_side", format!("{mask_max_side} must lie in 16..=8192"));
        }
        if !(min_agreement > 0.5 && min_agreement <= 1.0) {
            return bad("export.min_agreement", format!("{min_agreement} must be above 0.5 and at most 1"));
        }
        if !(self.export.max_logit_error > 0.0 && self.export.max_logit_error.is_finite()) {
            return bad("export.max_logit_error", "must be above 0".into());
        }
        if let Some((field, reason)) = self.export.quantize.fault() {
            return bad(&format!("export.quantize.{field}"), reason.into());
        }
        let wrong = (self.export.anatomy.validate(&labels).map_err(|e| e.to_string()))
            .and_then(|()| {
                self.export.measurements().validate(&self.export.anatomy).map_err(|e| e.to_string())
            })
            .and_then(|()| self.export.quality.validate().map_err(|e| e.to_string()));
        if let Err(reason) = wrong {
            return bad("export", reason);
        }
        // An index brings data sets of its own names.
        let known = |name: &String| {
            self.data.contains_key(name) || self.data.values().any(|spec| matches!(spec, DataSpec::Index(_)))
        };
        if let Some(unknown) = self.export.licenses.keys().find(|name| !known(name)) {
            return bad("export.licenses", format!("\"{unknown}\" is none of the data sets"));
        }
        let findings = self.finding_labels();
        for (i, finding) in self.findings.iter().enumerate() {
            if !is_label(&finding.label) || findings[..i].contains(&finding.label) {
                let reason = format!("\"{}\" is taken or not of a-z, 0-9 and _", finding.label);
                return bad("findings.label", reason);
            }
            if let Some(class) = finding.class.as_ref().filter(|class| !labels.contains(class)) {
                return bad("findings.class", format!("\"{class}\" is none of the classes"));
            }
        }
        if let Some((field, reason)) = self.consistency.as_ref().and_then(ConsistencySpec::fault) {
            return bad(&format!("consistency.{field}"), reason.into());
        }
        let consistent = self.consistency.iter().flat_map(|spec| &spec.classes).map(|c| ("consistency", c));
        let imitated = self.distillation.classes.iter().map(|c| ("distillation", c));
        if let Some((section, unknown)) =
            consistent.chain(imitated).find(|(_, label)| !labels.contains(label))
        {
            return bad(&format!("{section}.classes"), format!("\"{unknown}\" is none of the classes"));
        }
        if let Some((field, reason)) = self.distillation.fault() {
            return bad(&format!("distillation.{field}"), reason.into());
        }
        if self.distillation.unlabeled && self.consistency.is_none() && self.study.is_none() {
            return bad(
                "distillation.unlabeled",
                "needs [consistency], which says how images are shown".into(),
            );
        }
        self.classifier.validate()?;
        self.irnet.validate()?;
        self.pretrain.validate(Stage::Pretrain)?;
        self.train.validate(Stage::Train)?;
        if self.train.drawn_devices > 0.0 && self.phantom.devices_class(&labels).is_none() {
            let reason = "needs a class that phantoms have as support_devices";
            return bad("train.drawn_devices", reason.into());
        }
        if self.train.negatives && self.findings.iter().all(|finding| finding.class.is_none()) {
            return bad("train.negatives", "needs [[findings]] that name a class".into());
        }
        if let Some(study) = &self.study {
            study.validate(!self.findings.is_empty())?;
            for arm in &study.arms {
                let own = Self { study: None, ..self.clone().for_arm(arm, self.seed)? };
                if own.train.negatives && arm.pseudo.is_some() {
                    let reason =
                        "the gate of pseudo-masks says what absent classes teach; remove one of both";
                    return bad(&format!("study.arm.{}.pseudo", arm.name), reason.into());
                }
                own.validate().map_err(|error| error.within(&format!("study.arm.{}.with", arm.name)))?;
            }
        }
        Ok(())
    }
}

pub(super) fn is_slug(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
