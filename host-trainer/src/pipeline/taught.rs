use crate::config::{ArmSpec, Config};

/// Places of the labels that an arm is taught, those of derived classes behind the network's own: with expert masks all;
/// without, those that a finding names.
pub(crate) fn taught(config: &Config, arm: &ArmSpec) -> Vec<usize> {
    let named = |class: &String| config.findings.iter().any(|finding| finding.class.as_ref() == Some(class));
    let own = config.classes.iter().map(|class| named(&class.label));
    let derived = config.derived.iter().map(|derived| derived.of.iter().all(named));
    own.chain(derived).enumerate().filter(|(_, named)| arm.strong || *named).map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tiny;

    #[test]
    fn without_expert_masks_findings_teach() {
        let config = tiny(
            r#"
            [[derived]]
            label = "both"
            of = ["left_lung", "heart"]
            [[derived]]
            label = "alone"
            of = ["heart"]
            [[findings]]
            label = "enlarged_heart"
            class = "heart"
            [study]
            seeds = [1]
            budgets = [5]
            reference = "strong"
            [[study.arm]]
            name = "strong"
            [[study.arm]]
            name = "saliency"
            strong = false
            pseudo = { saliency = "grad-cam" }
            "#,
        );
        let study = config.study.clone().unwrap();
        assert_eq!(taught(&config, &study.arms[0]), [0, 1, 2, 3]);
        assert_eq!(taught(&config, &study.arms[1]), [1, 3]);
    }
}
