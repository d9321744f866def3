//! What each rule says of itself is true.

use anyhow::{Context as _, Result, ensure};
use immutable_core::evaluate::{Facts, evaluate};
use immutable_core::policy::{Enforcement, Policy, PolicyDraft, PolicyId, Profile};
use immutable_core::rules::{ConfigKind, RuleId, RuleSettings};
use immutable_core::workload::Workload;
use immutable_operator::cli::rule_page;
use immutable_operator::manifest::map_documents;

/// A policy with nothing but one rule, at its defaults.
fn only(rule: RuleId) -> Result<Policy> {
    let rules: RuleSettings = serde_json::from_value(serde_json::json!({RuleSettings::field(rule): {}}))?;
    PolicyDraft {
        id: PolicyId { namespace: None, name: "only".to_owned() },
        profile: Profile::None,
        enforcement: Enforcement::Enforce,
        suspend: None,
        namespaces: immutable_core::policy::NamespaceMatch::default(),
        kinds: Vec::new(),
        selector: immutable_core::selector::LabelSelector::default(),
        custom_workloads: Vec::new(),
        rules,
        controller_created: immutable_core::policy::ControllerCreated::default(),
        exceptions: immutable_core::policy::ExceptionSettings::default(),
        replace: None,
    }
    .validate()
    .map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

/// The messages of one rule on the workloads of a manifest, with the ConfigMaps beside them.
fn findings(rule: RuleId, manifest: &str) -> Result<Vec<String>> {
    let policy = only(rule)?;
    let mut facts = Facts::default();
    let documents = map_documents("example", manifest, true, |object| {
        let config = (object.kind() == "ConfigMap")
            .then(|| (object.name().unwrap_or_default().to_owned(), object.node().get("immutable").is_some()));
        (Workload::read(object.node(), object.api_version(), object.kind(), &[]), config)
    });
    let mut workloads = Vec::new();
    for result in documents.results {
        let (workload, config) = result?;
        workloads.extend(workload?);
        if let Some((name, immutable)) = config {
            facts.insert(ConfigKind::ConfigMap, "default", &name, immutable);
        }
    }
    ensure!(workloads.len() == 1, "an example is one workload, not {}", workloads.len());
    let workload = workloads.first().context("no workload")?;
    Ok(evaluate(&policy, workload, "default", &facts)
        .into_iter()
        .flat_map(|verdict| verdict.findings)
        .map(|finding| format!("{}{}; {}", finding.about.prefix(), finding.message, finding.fix))
        .collect())
}

#[test]
fn the_bad_example_of_each_rule_has_one_finding_and_the_good_one_none() -> Result<()> {
    for &rule in RuleId::ALL {
        let document = rule.document();
        let bad = findings(rule, document.bad).with_context(|| format!("bad example of {rule}"))?;
        ensure!(bad.len() == 1, "{rule}: the bad example has {bad:?}");
        let good = findings(rule, document.good).with_context(|| format!("good example of {rule}"))?;
        ensure!(good.is_empty(), "{rule}: the good example has {good:?}");
    }
    Ok(())
}

#[test]
fn no_sentence_has_a_name_that_nobody_fills_in() -> Result<()> {
    for &rule in RuleId::ALL {
        for sentence in findings(rule, rule.document().bad)? {
            ensure!(!sentence.contains(['{', '}']), "{rule}: {sentence}");
            ensure!(sentence.is_ascii() && !sentence.contains('\n'), "{rule}: {sentence}");
        }
        let checks = only(rule)?.rules.into_iter().next().context("the rule is off")?.checks;
        let texts = checks
            .images
            .iter()
            .flat_map(|case| [case.message().cel(), case.fix().cel()])
            .chain(
                checks
                    .containers
                    .iter()
                    .flat_map(|check| &check.cases)
                    .flat_map(|case| [case.message().cel(), case.fix().cel()]),
            )
            .chain(checks.volumes.iter().flat_map(|case| [case.message().cel(), case.fix().cel()]))
            .chain(
                checks
                    .strategies
                    .iter()
                    .flat_map(|check| &check.cases)
                    .flat_map(|case| [case.message().cel(), case.fix().cel()]),
            );
        for text in texts {
            let literals = text.replace("{0,", "");
            ensure!(!literals.contains("'{") && !literals.contains(" {"), "{rule}: {text}");
        }
    }
    Ok(())
}

#[test]
fn the_page_of_each_rule_tells_reason_settings_and_examples() {
    for &rule in RuleId::ALL {
        let page = rule_page(rule);
        for heading in ["## Why", "## What to write", "## Settings", "## Broken", "## Right"] {
            assert!(page.contains(heading), "{rule} has no {heading}");
        }
    }
}

#[test]
fn the_profiles_are_those_of_the_design() {
    let of = |profile| -> Vec<&str> {
        RuleId::ALL.iter().filter(|rule| rule.profiles().contains(&profile)).map(|rule| rule.id()).collect()
    };
    let all_but: Vec<&str> = RuleId::ALL
        .iter()
        .map(|rule| rule.id())
        .filter(|id| !["image-pull-policy", "immutable-config"].contains(id))
        .collect();
    assert_eq!(of(Profile::Stateless), all_but);
    assert_eq!(
        of(Profile::Stateful),
        ["image-tag", "image-digest", "read-only-root-filesystem", "privilege-escalation", "privileged"]
    );
    assert_eq!(of(Profile::Infrastructure), ["image-tag", "image-digest"]);
    assert!(of(Profile::None).is_empty());
}
