//! Reports to be written.

use std::sync::Arc;

use immutable_core::evaluate::About;
use immutable_core::policy::Enforcement;
use immutable_core::rules::RuleId;
use immutable_core::workload::ContainerType;
use immutable_operator::output::{Entry, ExceptionNote, Outcome, Place, Report, Resource, Subject, Summary};

/// Makes the entries of one workload.
pub(crate) struct Workload {
    file: Arc<str>,
    resource: Arc<Resource>,
    policy: Arc<str>,
    enforcement: Enforcement,
}

impl Workload {
    pub(crate) fn new(file: &str, api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            file: Arc::from(file),
            resource: Arc::new(Resource {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            policy: Arc::from("builtin/stateless"),
            enforcement: Enforcement::Enforce,
        }
    }

    pub(crate) fn deployment(file: &str, name: &str) -> Self {
        Self::new(file, "apps/v1", "Deployment", "shop", name)
    }

    pub(crate) fn under(&mut self, policy: &str, enforcement: Enforcement) -> &mut Self {
        self.policy = Arc::from(policy);
        self.enforcement = enforcement;
        self
    }

    pub(crate) fn entry(
        &self,
        rule: RuleId,
        about: About,
        at: (u32, u32),
        path: &str,
        message: &str,
        fix: &str,
    ) -> Entry {
        Entry {
            outcome: if self.enforcement == Enforcement::Enforce { Outcome::Fail } else { Outcome::Warn },
            rule: Some(rule),
            policy: Some(Arc::clone(&self.policy)),
            enforcement: Some(self.enforcement),
            resource: Some(Arc::clone(&self.resource)),
            about,
            path: path.to_owned(),
            message: message.to_owned(),
            fix: fix.to_owned(),
            place: Place { file: Arc::clone(&self.file), line: at.0, column: at.1 },
            exception: None,
        }
    }

    pub(crate) fn writable_root(&self, container: &str, at: (u32, u32)) -> Entry {
        self.entry(
            RuleId::ReadOnlyRootFilesystem,
            app(container),
            at,
            "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem",
            "securityContext.readOnlyRootFilesystem is not true",
            "write securityContext.readOnlyRootFilesystem: true",
        )
    }
}

pub(crate) fn app(name: &str) -> About {
    About::Container { name: name.to_owned(), container_type: ContainerType::Container }
}

pub(crate) fn init(name: &str) -> About {
    About::Container { name: name.to_owned(), container_type: ContainerType::InitContainer }
}

pub(crate) fn unreadable(file: &str, at: (u32, u32), message: &str) -> Entry {
    Entry {
        outcome: Outcome::Error,
        rule: None,
        policy: None,
        enforcement: None,
        resource: None,
        about: About::Workload,
        path: String::new(),
        message: message.to_owned(),
        fix: String::new(),
        place: Place { file: Arc::from(file), line: at.0, column: at.1 },
        exception: None,
    }
}

pub(crate) fn report(resources: u64, pass: u64, entries: Vec<Entry>) -> Report {
    let of = |outcome| entries.iter().filter(|entry| entry.outcome == outcome).count() as u64;
    let summary = Summary {
        resources,
        pass,
        warn: of(Outcome::Warn),
        fail: of(Outcome::Fail),
        skip: of(Outcome::Skip),
        error: of(Outcome::Error),
    };
    Report { summary, entries, ..Report::default() }
}

/// What a team sees on its first day: one policy, three workloads.
pub(crate) fn first_day() -> Report {
    let image = "/spec/template/spec/containers/0/image";
    let web = Workload::deployment("deploy/web.yaml", "web");
    let worker = Workload::deployment("deploy/worker.yaml", "worker");
    let mut entries = vec![
        web.entry(
            RuleId::ImageTag,
            app("app"),
            (19, 16),
            image,
            "image ghcr.io/shop/web has no tag, which means the mutable tag latest",
            "write ghcr.io/shop/web:TAG@sha256:DIGEST",
        ),
        web.entry(
            RuleId::ImageDigest,
            app("app"),
            (19, 16),
            image,
            "image ghcr.io/shop/web has no digest",
            "write ghcr.io/shop/web@sha256:DIGEST",
        ),
        web.entry(
            RuleId::ImageDigest,
            init("migrate"),
            (14, 16),
            "/spec/template/spec/initContainers/0/image",
            "image ghcr.io/shop/migrate:4.2 has no digest",
            "write ghcr.io/shop/migrate:4.2@sha256:DIGEST",
        ),
        web.writable_root("app", (21, 11)),
        Entry { about: init("migrate"), ..web.writable_root("", (13, 9)) },
        web.entry(
            RuleId::ScratchVolumes,
            About::Volume("cache".to_owned()),
            (33, 9),
            "/spec/template/spec/volumes/0/emptyDir/sizeLimit",
            "emptyDir has no sizeLimit",
            "write emptyDir.sizeLimit",
        ),
        worker.writable_root("worker", (17, 9)),
        worker.entry(
            RuleId::ResourceLimits,
            app("worker"),
            (24, 11),
            "/spec/template/spec/containers/0/resources",
            "no limits.memory, requests.memory",
            "write them under resources",
        ),
    ];
    entries.extend(
        [Workload::new("deploy/cron.yaml", "batch/v1", "CronJob", "shop", "report")]
            .iter()
            .map(|cron| Entry { path: "/spec/jobTemplate".to_owned(), ..cron.writable_root("report", (20, 13)) }),
    );
    Report { others: 1, ..report(3, 24, entries) }
}

/// Everything that an entry can be, under two policies, and text that wants to be more than text.
pub(crate) fn everything() -> Report {
    let mut web = Workload::deployment("-", "web");
    web.under("production", Enforcement::Enforce);
    let mut entries = vec![
        web.entry(
            RuleId::UpdateStrategy,
            About::Workload,
            (7, 3),
            "/spec/strategy/type",
            "strategy.type is Recreate",
            "write strategy.type: RollingUpdate",
        ),
        Entry {
            outcome: Outcome::Pass,
            message: "Containers are not privileged".to_owned(),
            ..web.entry(RuleId::Privileged, About::Workload, (1, 1), "", "", "")
        },
        Entry {
            outcome: Outcome::Skip,
            exception: Some(ExceptionNote {
                name: "node-logs".to_owned(),
                reason: "the agent\nwrites \u{1b}[2J<its> position & \"state\", see é-42".to_owned(),
                expires_at: "2027-01-31T00:00:00Z".parse().unwrap(),
            }),
            ..web.entry(
                RuleId::HostPath,
                app("agent"),
                (22, 9),
                "/spec/template/spec/containers/1/volumeMounts/0/readOnly",
                "hostPath volume logs is mounted writable",
                "write readOnly: true at the mount",
            )
        },
    ];
    for (index, name) in ["settings", "features"].into_iter().enumerate() {
        entries.push(Entry {
            outcome: Outcome::Error,
            ..web.entry(
                RuleId::ImmutableConfig,
                app("web"),
                (30, 15),
                &format!("/spec/template/spec/containers/0/envFrom/{index}/configMapRef"),
                &format!("ConfigMap {name} is not among what was given, so it cannot be judged"),
                "give the ConfigMap as input too",
            )
        });
    }
    web.under("team/hygiene", Enforcement::Warn);
    entries.push(web.entry(
        RuleId::Probes,
        app("web"),
        (12, 9),
        "/spec/template/spec/containers/0/readinessProbe",
        "no readinessProbe",
        "write one that fails while the container cannot serve",
    ));
    web.under("team/hygiene", Enforcement::Audit);
    entries.push(web.writable_root("web", (12, 9)));
    entries.push(Entry { outcome: Outcome::Error, ..web.writable_root("web", (12, 9)) });
    entries.push(unreadable(
        "./chart, 100%:\u{1b}]0;x\u{7}\n\u{202e}é/templates/<web>.yaml",
        (3, 5),
        "this is a template: helm template DIR | immutable check -\n::error::not a command",
    ));
    let broken = Workload::new("deploy/old.yaml", "apps/v1beta1", "Deployment", "shop", "old");
    entries.push(Entry {
        rule: None,
        policy: None,
        enforcement: None,
        outcome: Outcome::Error,
        message: "apps/v1beta1 is no version of Deployment that is known".to_owned(),
        fix: String::new(),
        path: "/apiVersion".to_owned(),
        about: About::Workload,
        ..broken.writable_root("", (1, 13))
    });
    report(1, 11, entries)
}

/// Three workloads that nothing is wrong with.
/// The same as found in a cluster, with a kind that may not be listed.
pub(crate) fn in_cluster() -> Report {
    let mut report = first_day();
    report.entries.push(unreadable("", (0, 0), "apps/v1 DaemonSet cannot be listed: it is forbidden"));
    let mut live = self::report(report.summary.resources, report.summary.pass, report.entries);
    for entry in &mut live.entries {
        entry.place = Place::in_cluster(entry.resource.as_deref());
    }
    live.subject = Subject::Cluster;
    live
}

pub(crate) fn clean() -> Report {
    report(3, 39, Vec::new())
}

/// Many findings in many files.
pub(crate) fn many(workloads: usize, findings: u32) -> Report {
    let entries = (0..workloads)
        .flat_map(|index| {
            let workload = Workload::deployment(&format!("deploy/{index}.yaml"), &format!("web-{index}"));
            (0..findings).map(move |at| workload.writable_root(&format!("app-{at}"), (at + 1, 9))).collect::<Vec<_>>()
        })
        .collect();
    report(workloads as u64, 0, entries)
}
