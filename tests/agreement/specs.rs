//! Pod specs: valid for the API server, as good or as bad as dice say.

use serde_json::{Map, Value, json};

use crate::{images, random::Random};

/// Where a pod spec stands, which decides what the API server lets it hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// In a Pod.
    Pod,
    /// In a template of pods that restart always.
    Serving,
    /// In a template of pods that end.
    Ending,
    /// In a template that may be of either, such as a PodTemplate's.
    Template,
    /// In a custom resource, which the API server does not look into.
    Custom,
}

/// Throws the dice.
pub(crate) struct Generator<'a> {
    pub(crate) random: Random,
    edges: &'a [String],
    home: Home,
    /// How often, in percent, a field is as every rule wants it.
    good: usize,
    windows: bool,
    pod_resources: bool,
    volumes: Vec<String>,
}

impl<'a> Generator<'a> {
    /// A generator for one object.
    pub(crate) fn new(mut random: Random, edges: &'a [String], home: Home) -> Self {
        let good = *random.pick(&[0, 30, 60, 90, 97, 100]);
        let windows = random.chance(8);
        let pod_resources = !windows && random.chance(12);
        Self { random, edges, home, good, windows, pod_resources, volumes: Vec::new() }
    }

    /// Goes on in a Pod that exists.
    pub(crate) fn is_like(&mut self, windows: bool, volumes: &[&str]) {
        self.windows = windows;
        self.volumes = volumes.iter().map(ToString::to_string).collect();
    }

    fn good(&mut self) -> bool {
        self.random.chance(self.good)
    }

    /// Nothing, or now and then the null that means nothing.
    fn absent(&mut self) -> Option<Value> {
        self.random.chance(4).then_some(Value::Null)
    }

    fn put(&mut self, map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
        if let Some(value) = value.or_else(|| self.absent()) {
            map.insert(key.to_owned(), value);
        }
    }

    /// A pod spec.
    pub(crate) fn pod_spec(&mut self) -> Value {
        let mut spec = Map::new();
        let os = if self.windows {
            Some(json!({"name": "windows"}))
        } else {
            self.random.chance(10).then(|| json!({"name": "linux"}))
        };
        self.put(&mut spec, "os", os);
        let volumes = self.volume_list();
        self.put(&mut spec, "volumes", volumes);
        let security = self.pod_security();
        self.put(&mut spec, "securityContext", security);
        let resources = if self.pod_resources { Some(self.resources(&["cpu", "memory"], "500", "1000")) } else { None };
        self.put(&mut spec, "resources", resources);
        let policy = self.pod_restart_policy();
        self.put(&mut spec, "restartPolicy", policy.map(Value::from));
        let many = self.random.below(300) == 0;
        let count = if many { 30 } else { 1 + self.random.below(3) };
        let containers = (0..count).map(|index| self.container("c", index)).collect();
        spec.insert("containers".to_owned(), Value::Array(containers));
        let count = self.random.below(6).saturating_sub(2);
        let init = (count > 0).then(|| (0..count).map(|index| self.container("i", index)).collect());
        self.put(&mut spec, "initContainers", init.map(Value::Array));
        if self.home == Home::Custom && self.random.chance(15) {
            let ephemeral = (0..2).map(|index| self.container("e", index)).collect();
            spec.insert("ephemeralContainers".to_owned(), Value::Array(ephemeral));
        }
        if self.random.chance(20) {
            spec.insert("terminationGracePeriodSeconds".to_owned(), json!(5));
        }
        Value::Object(spec)
    }

    fn pod_restart_policy(&mut self) -> Option<&'static str> {
        match self.home {
            Home::Serving => *self.random.pick(&[None, Some("Always")]),
            Home::Ending => Some(*self.random.pick(&["Never", "OnFailure"])),
            _ => *self.random.pick(&[
                None,
                None,
                Some("Always"),
                Some("Always"),
                Some("Never"),
                Some("OnFailure"),
                Some(""),
            ]),
        }
    }

    fn name(&mut self, prefix: &str, index: usize) -> String {
        if self.home == Home::Custom && self.random.chance(6) {
            // Nobody has validated it.
            return self.random.pick(&["", "a b", "\u{e9}\n", "c0", "i0", "UPPER", "'quoted\\", "%"]).to_string();
        }
        let name = format!("{prefix}{index}");
        if self.random.chance(6) { format!("{name}{}", "x".repeat(63 - name.len())) } else { name }
    }

    /// A container of one of the lists.
    pub(crate) fn container(&mut self, prefix: &str, index: usize) -> Value {
        let mut container = Map::new();
        let custom = self.home == Home::Custom;
        let name = self.name(prefix, index);
        if !(custom && self.random.chance(2)) {
            container.insert("name".to_owned(), json!(name));
        }
        let image = if self.good() { images::pinned() } else { self.image() };
        if !(custom && self.random.chance(3)) {
            container.insert("image".to_owned(), json!(image));
        }
        let policy = self.random.chance(40).then(|| *self.random.pick(&["Always", "IfNotPresent", "Never"]));
        self.put(&mut container, "imagePullPolicy", policy.map(Value::from));
        let security = self.security();
        self.put(&mut container, "securityContext", security);
        let mounts = self.mounts();
        self.put(&mut container, "volumeMounts", mounts);
        if prefix != "e" || custom {
            let names: &[&str] = &["cpu", "memory", "ephemeral-storage"];
            let resources = (self.good() || self.random.chance(60)).then(|| self.resources(names, "1m", "2m"));
            self.put(&mut container, "resources", resources);
        }
        let sidecar = prefix == "i" && self.random.chance(40);
        if sidecar {
            container.insert("restartPolicy".to_owned(), json!("Always"));
        } else if prefix != "e" && self.random.chance(6) {
            let policies = if prefix == "c" { &["Always", "Never", "OnFailure"][..] } else { &["Never", "OnFailure"] };
            container.insert("restartPolicy".to_owned(), json!(self.random.pick(policies)));
        }
        if custom && self.random.chance(2) {
            container.insert("imagePullPolicy".to_owned(), json!(""));
        }
        if sidecar || prefix == "c" || custom {
            for field in ["readinessProbe", "livenessProbe", "startupProbe"] {
                let probe = (self.good() || self.random.chance(40)).then(|| self.probe(field));
                self.put(&mut container, field, probe);
            }
        }
        if self.random.chance(10) {
            container.insert("env".to_owned(), json!([{"name": "A", "value": "B"}]));
        }
        if self.random.chance(5) {
            container.insert("command".to_owned(), json!(["sh", "-c", "true"]));
        }
        Value::Object(container)
    }

    fn image(&mut self) -> String {
        let image = images::any(&mut self.random, self.edges);
        let trimmed = image.trim();
        // What the API server refuses would teach nothing.
        match self.home {
            Home::Pod if trimmed.is_empty() => "nginx".to_owned(),
            Home::Pod => trimmed.to_owned(),
            Home::Custom => image,
            _ if image.is_empty() => "nginx".to_owned(),
            _ => image,
        }
    }

    fn probe(&mut self, field: &str) -> Value {
        let threshold = if field == "readinessProbe" { 2 } else { 1 };
        match self.random.below(4) {
            0 => json!({"httpGet": {"path": "/", "port": 8080}}),
            1 => json!({"tcpSocket": {"port": "web"}, "successThreshold": threshold}),
            2 => json!({"exec": {"command": ["true"]}, "periodSeconds": 3}),
            _ => json!({"grpc": {"port": 9000}}),
        }
    }

    fn flag(&mut self, good: bool) -> Option<Value> {
        if self.good() {
            return Some(json!(good));
        }
        match self.random.below(3) {
            0 => None,
            1 => Some(json!(good)),
            _ => Some(json!(!good)),
        }
    }

    fn user(&mut self) -> Option<Value> {
        match self.random.below(6) {
            0 if !self.good() => Some(json!(0)),
            1 => Some(json!(1)),
            2 => Some(json!(2_147_483_647)),
            _ => None,
        }
    }

    fn pod_security(&mut self) -> Option<Value> {
        if !self.good() && self.random.chance(50) {
            return None;
        }
        let mut security = Map::new();
        let non_root = self.flag(true);
        self.put(&mut security, "runAsNonRoot", non_root);
        if !self.windows {
            let user = self.user();
            self.put(&mut security, "runAsUser", user);
        }
        Some(Value::Object(security))
    }

    fn security(&mut self) -> Option<Value> {
        if !self.good() && self.random.chance(40) {
            return None;
        }
        let mut security = Map::new();
        let inherit = self.random.chance(50);
        let non_root = if inherit { None } else { self.flag(true) };
        self.put(&mut security, "runAsNonRoot", non_root);
        if self.windows && !self.random.chance(5) {
            return Some(Value::Object(security));
        }
        let user = self.user();
        self.put(&mut security, "runAsUser", user);
        let read_only = self.flag(true);
        self.put(&mut security, "readOnlyRootFilesystem", read_only);
        let escalation = self.flag(false);
        // The API server refuses the contradiction.
        let can_be_privileged = escalation != Some(json!(false)) || self.home == Home::Custom;
        let privileged = if can_be_privileged && !self.good() && self.random.chance(50) {
            Some(json!(true))
        } else {
            self.random.chance(30).then_some(json!(false))
        };
        self.put(&mut security, "allowPrivilegeEscalation", escalation);
        self.put(&mut security, "privileged", privileged);
        let capabilities = self.capabilities();
        self.put(&mut security, "capabilities", capabilities);
        if self.random.chance(10) {
            security.insert("runAsGroup".to_owned(), json!(7));
        }
        Some(Value::Object(security))
    }

    fn capabilities(&mut self) -> Option<Value> {
        if self.good() {
            return Some(json!({"drop": ["ALL"]}));
        }
        if self.random.chance(20) {
            return None;
        }
        let mut capabilities = Map::new();
        let drop: &[&[&str]] = &[&[], &["ALL"], &["all"], &["CAP_ALL"], &["NET_RAW", "ALL"], &["NET_RAW"], &[""]];
        let add: &[&[&str]] = &[
            &[],
            &["NET_BIND_SERVICE"],
            &["SYS_TIME"],
            &["ALL"],
            &["CAP_NET_BIND_SERVICE", "net_bind_service"],
            &["CHOWN", "NET_BIND_SERVICE", "NET_ADMIN", "CHOWN"],
            &["\u{e9}t\u{e9}\n", ""],
            &["A_VERY_LONG_NAME_OF_A_CAPABILITY_THAT_NOBODY_HAS_EVER_SEEN_AND_NOBODY_EVER_WILL_SEE_AT_ALL"],
        ];
        let drop = self.random.chance(80).then(|| json!(self.random.pick(drop)));
        self.put(&mut capabilities, "drop", drop);
        let add = self.random.chance(50).then(|| json!(self.random.pick(add)));
        self.put(&mut capabilities, "add", add);
        Some(Value::Object(capabilities))
    }

    /// Requests are the smaller amount, limits the larger.
    fn resources(&mut self, names: &[&str], request: &str, limit: &str) -> Value {
        let mut resources = Map::new();
        for (list, amount) in [("requests", request), ("limits", limit)] {
            let mut amounts = Map::new();
            for name in names {
                if self.good() || self.random.chance(40) {
                    // A thousandth of a byte is refused, a thousandth of a core is not.
                    let amount =
                        if *name == "cpu" { amount.to_owned() } else { format!("{}Gi", amount.trim_end_matches('m')) };
                    amounts.insert((*name).to_owned(), json!(amount));
                }
            }
            if !amounts.is_empty() || self.random.chance(20) {
                resources.insert(list.to_owned(), Value::Object(amounts));
            } else if let Some(null) = self.absent() {
                resources.insert(list.to_owned(), null);
            }
        }
        Value::Object(resources)
    }

    fn volume_list(&mut self) -> Option<Value> {
        let count = self.random.below(6).saturating_sub(1);
        if count == 0 {
            return self.random.chance(10).then(|| json!([]));
        }
        Some((0..count).map(|index| self.volume(index)).collect())
    }

    fn volume(&mut self, index: usize) -> Value {
        let name = if self.random.chance(6) { format!("v{index}{}", "y".repeat(61)) } else { format!("v{index}") };
        self.volumes.push(name.clone());
        let mut volume = Map::from_iter([("name".to_owned(), json!(name))]);
        let mut source = |kind: &str, value: Value| drop(volume.insert(kind.to_owned(), value));
        match self.random.below(10) {
            0 | 1 if self.good() => source("emptyDir", json!({"sizeLimit": "1Gi"})),
            0 => source("emptyDir", json!({})),
            1 => source("emptyDir", json!({"medium": "Memory", "sizeLimit": null})),
            2 | 3 => source("hostPath", json!({"path": "/var/log"})),
            4 => source("configMap", json!({"name": "settings", "optional": true})),
            5 => source("secret", json!({"secretName": "key"})),
            6 => source("projected", json!({"sources": [{"configMap": {"name": "settings"}}]})),
            7 if !self.good() => match self.random.below(3) {
                0 => {}
                1 => source("emptyDir", Value::Null),
                _ => source("hostPath", Value::Null),
            },
            _ => {
                let image = if self.random.chance(self.good) {
                    images::pinned()
                } else {
                    images::any(&mut self.random, self.edges)
                };
                match (self.home, self.random.below(8)) {
                    (Home::Custom, 0) => source("image", json!({})),
                    (Home::Custom, 1) => source("image", json!({"reference": null, "pullPolicy": "Always"})),
                    _ if image.is_empty() => source("image", json!({"reference": "nginx"})),
                    _ => source("image", json!({"reference": image})),
                }
            }
        }
        Value::Object(volume)
    }

    fn mounts(&mut self) -> Option<Value> {
        let volumes = self.volumes.clone();
        let mut mounts = Vec::new();
        for (index, name) in volumes.iter().enumerate() {
            // An image can be mounted by main and init containers alike, and everything more than once.
            for copy in 0..self.random.below(3) {
                let mut mount = Map::from_iter([
                    ("name".to_owned(), json!(name)),
                    ("mountPath".to_owned(), json!(format!("/m/{index}/{copy}"))),
                ]);
                let read_only =
                    if self.good() { Some(json!(true)) } else { self.random.chance(50).then_some(json!(false)) };
                self.put(&mut mount, "readOnly", read_only);
                mounts.push(Value::Object(mount));
            }
        }
        (!mounts.is_empty() || self.random.chance(5)).then_some(Value::Array(mounts))
    }
}
