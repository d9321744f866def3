//! Pod specs and strategies at the edges, written by hand.

use serde_json::{Value, json};

use crate::{
    images,
    specs::Home,
    workloads::{SORTS, Sort, around},
};

/// Every hand-written object: each spec in a Pod and in some of the other kinds, each image in one kind after the other.
pub(crate) fn objects() -> Vec<Value> {
    let mut objects = Vec::new();
    for (index, spec) in specs().into_iter().enumerate() {
        let chosen = |at: usize| at == 0 || (at + index).is_multiple_of(3);
        let sorts = SORTS.into_iter().enumerate().filter(|(at, _)| chosen(*at));
        objects.extend(sorts.filter_map(|(_, sort)| Some(around(sort, &fitting(&spec, sort.home())?))));
    }
    for (index, image) in images::edges().into_iter().enumerate() {
        let spec = json!({"containers": [{"name": "app", "image": image}], "restartPolicy": "Never"});
        let sort = SORTS[index % SORTS.len()];
        objects.extend(fitting(&spec, sort.home()).map(|spec| around(sort, &spec)));
        let spec = json!({
            "containers": [{"name": "app", "image": images::pinned()}],
            "volumes": [{"name": "content", "image": {"reference": image}}],
        });
        let sort = SORTS[(index + 5) % SORTS.len()];
        objects.extend(fitting(&spec, sort.home()).map(|spec| around(sort, &spec)));
    }
    objects.extend(strategies());
    objects
}

/// The spec with the restart policy that its place asks for; none where what it is about would be lost.
fn fitting(spec: &Value, home: Home) -> Option<Value> {
    let mut spec = spec.clone();
    match home {
        Home::Serving => drop(spec.as_object_mut()?.remove("restartPolicy")),
        Home::Ending if spec["restartPolicy"] != "OnFailure" => spec["restartPolicy"] = json!("Never"),
        _ => {}
    }
    Some(spec)
}

fn container(fields: &Value) -> Value {
    let mut container = json!({"name": "app", "image": images::pinned()});
    if let (Some(target), Some(fields)) = (container.as_object_mut(), fields.as_object()) {
        target.extend(fields.clone());
    }
    container
}

/// A spec of one container with these fields beside its image.
fn one(fields: &Value) -> Value {
    json!({"containers": [container(fields)]})
}

/// The same beside fields of the pod.
fn with(mut pod: Value, fields: &Value) -> Value {
    pod["containers"] = json!([container(fields)]);
    pod
}

fn secure() -> Value {
    json!({
        "securityContext": {
            "readOnlyRootFilesystem": true, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"},
            "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"},
        },
        "imagePullPolicy": "Always",
        "readinessProbe": {"httpGet": {"port": 80}},
        "livenessProbe": {"httpGet": {"port": 80}},
        "startupProbe": {"httpGet": {"port": 80}},
    })
}

fn specs() -> Vec<Value> {
    let mut specs = vec![one(&json!({})), one(&secure())];
    specs.extend(securities());
    specs.extend(amounts());
    specs.extend(probes());
    specs.extend(volumes());
    specs.extend(lists());
    specs
}

fn securities() -> Vec<Value> {
    let of_container = [
        json!(null),
        json!({}),
        json!({"readOnlyRootFilesystem": null, "runAsNonRoot": null, "runAsUser": null, "privileged": null}),
        json!({"readOnlyRootFilesystem": true}),
        json!({"readOnlyRootFilesystem": false, "privileged": false, "allowPrivilegeEscalation": true}),
        json!({"privileged": true}),
        json!({"runAsNonRoot": true, "runAsUser": 0}),
        json!({"runAsNonRoot": false, "runAsUser": 1}),
        json!({"runAsUser": 0}),
        json!({"runAsUser": 1000}),
        json!({"capabilities": null}),
        json!({"capabilities": {}}),
        json!({"capabilities": {"add": null, "drop": null}}),
        json!({"capabilities": {"drop": ["ALL"]}}),
        json!({"capabilities": {"drop": ["all"]}}),
        json!({"capabilities": {"drop": ["NET_RAW", "ALL"], "add": ["NET_BIND_SERVICE"]}}),
        json!({"capabilities": {"drop": ["ALL"], "add": ["SYS_TIME", "CHOWN", "NET_ADMIN"]}}),
        json!({"capabilities": {"add": ["ALL"]}}),
        json!({"capabilities": {"drop": ["ALL"], "add": ["", "x y", "\u{e9}\u{200b}\n", "'", "\\"]}}),
        json!({"capabilities": {"drop": ["ALL"], "add": ["A".repeat(80), "B".repeat(81), "\u{1F600}".repeat(81)]}}),
    ];
    let of_pod = [
        json!(null),
        json!({"runAsNonRoot": true}),
        json!({"runAsNonRoot": false, "runAsUser": 0}),
        json!({"runAsUser": 0, "runAsNonRoot": true}),
        json!({"runAsUser": 5}),
    ];
    let mut specs: Vec<Value> = of_container.iter().map(|own| one(&json!({"securityContext": own}))).collect();
    for pod in &of_pod {
        for own in [
            json!(null),
            json!({"runAsNonRoot": false}),
            json!({"runAsNonRoot": true}),
            json!({"runAsUser": 0}),
            json!({"runAsUser": 7}),
        ] {
            specs.push(with(json!({"securityContext": pod}), &json!({"securityContext": own})));
        }
    }
    for os in [json!(null), json!({"name": "windows"}), json!({"name": "linux"})] {
        specs.push(with(json!({"os": os}), &json!({})));
        specs.push(with(json!({"os": os}), &json!({"securityContext": {"runAsNonRoot": true}})));
    }
    specs
}

fn amounts() -> Vec<Value> {
    let of_container = [
        json!(null),
        json!({}),
        json!({"limits": {}, "requests": null}),
        json!({"limits": {"memory": "1Gi"}}),
        json!({"limits": {"cpu": 1, "memory": "1Gi"}}),
        json!({"requests": {"cpu": "1", "memory": "1Gi"}}),
        json!({"requests": {"cpu": "0", "memory": null}}),
        json!({"limits": {"ephemeral-storage": "1Gi"}, "requests": {"cpu": 0.5}}),
        json!({"limits": {"memory": 1_000_000, "hugepages-2Mi": "2Mi"}}),
    ];
    let of_pod = [
        json!({}),
        json!({"limits": {"memory": "64Gi"}}),
        json!({"requests": {"memory": "64Gi"}}),
        json!({"limits": {"cpu": "64"}}),
        json!({"requests": {"cpu": "64", "memory": "64Gi"}}),
        json!({"limits": {"cpu": "64", "memory": "64Gi"}, "requests": {"memory": "64Gi"}}),
    ];
    let mut specs: Vec<Value> = of_container.iter().map(|own| one(&json!({"resources": own}))).collect();
    for pod in &of_pod {
        for own in &of_container {
            specs.push(with(json!({"resources": pod}), &json!({"resources": own})));
        }
        // The second container's amounts make the pod's requests, and those count for the first.
        specs.push(json!({
            "resources": pod,
            "containers": [container(&json!({})), {"name": "b", "image": "nginx", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
            "initContainers": [{"name": "i", "image": "nginx", "resources": {"limits": {"memory": "2Gi"}}}],
        }));
    }
    specs
}

fn probes() -> Vec<Value> {
    let probe = json!({"tcpSocket": {"port": 1}});
    let mut specs = vec![
        one(&json!({"readinessProbe": probe})),
        one(&json!({"readinessProbe": null, "livenessProbe": probe})),
        one(&json!({"startupProbe": probe, "livenessProbe": probe})),
    ];
    for policy in ["Always", "Never", "OnFailure"] {
        specs.push(with(json!({"restartPolicy": policy}), &json!({})));
        specs.push(json!({
            "containers": [container(&secure())],
            "initContainers": [{"name": "setup", "image": "nginx:1", "restartPolicy": policy}],
        }));
        specs.push(json!({
            "restartPolicy": policy,
            "containers": [container(&json!({"restartPolicy": policy}))],
            "initContainers": [{"name": "side", "image": "nginx:1", "restartPolicy": "Always", "readinessProbe": probe}],
        }));
    }
    specs
}

fn volumes() -> Vec<Value> {
    let sources = [
        json!({}),
        json!({"emptyDir": {}}),
        json!({"emptyDir": null}),
        json!({"emptyDir": {"sizeLimit": "1Gi"}}),
        json!({"emptyDir": {"sizeLimit": null, "medium": "Memory"}}),
        json!({"emptyDir": {"sizeLimit": "0"}}),
        json!({"hostPath": {"path": "/"}}),
        json!({"hostPath": null}),
        json!({"hostPath": {"path": "/x", "type": "DirectoryOrCreate"}}),
        json!({"image": {"reference": "nginx"}}),
        json!({"image": {"reference": images::pinned(), "pullPolicy": "Always"}}),
        json!({"image": {}}),
        json!({"image": {"reference": null}}),
        json!({"image": {"reference": ""}}),
        json!({"configMap": {"name": "a"}}),
        json!({"secret": {"secretName": "a"}}),
        json!({"projected": {"sources": []}}),
        json!({"downwardAPI": {}}),
        json!({"ephemeral": {"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}}),
        json!({"persistentVolumeClaim": {"claimName": "a"}}),
        json!({"csi": {"driver": "d.example"}}),
    ];
    let mut specs = Vec::new();
    for source in sources {
        for mount in [json!({}), json!({"readOnly": true}), json!({"readOnly": false}), json!({"readOnly": null})] {
            let mut volume = source.clone();
            volume["name"] = json!("data");
            let mut mounted = mount.clone();
            mounted["name"] = json!("data");
            mounted["mountPath"] = json!("/data");
            specs.push(with(json!({"volumes": [volume]}), &json!({"volumeMounts": [mounted]})));
        }
    }
    let host = |name: &str| json!({"name": name, "hostPath": {"path": "/"}});
    let long = "v".repeat(63);
    specs.push(json!({
        "volumes": [host("a"), host(&long), {"name": "c", "emptyDir": {}}],
        "containers": [container(&json!({"volumeMounts": [
            {"name": "a", "mountPath": "/1"}, {"name": "a", "mountPath": "/2", "readOnly": true}, {"name": "a", "mountPath": "/3"},
            {"name": long, "mountPath": "/4"}, {"name": "c", "mountPath": "/5"}]}))],
        "initContainers": [{"name": "i", "image": "nginx", "volumeMounts": [{"name": "a", "mountPath": "/1"}]}],
    }));
    specs.push(with(json!({"volumes": null}), &json!({"volumeMounts": null})));
    specs.push(with(json!({"volumes": []}), &json!({"volumeMounts": []})));
    specs
}

fn lists() -> Vec<Value> {
    let many: Vec<Value> = (0..30).map(|index| json!({"name": format!("c{index}"), "image": "nginx:latest"})).collect();
    let long: Vec<Value> =
        (0..5).map(|index| json!({"name": format!("{index}{}", "x".repeat(62)), "image": "nginx"})).collect();
    vec![
        json!({"containers": many}),
        json!({"containers": long}),
        json!({"containers": [container(&json!({}))], "initContainers": null, "ephemeralContainers": null, "volumes": null}),
        json!({"containers": [container(&json!({}))], "initContainers": [], "ephemeralContainers": []}),
        json!({"containers": [container(&json!({})), {"name": "b", "image": "b"}], "initContainers": [{"name": "c", "image": "c:latest"}]}),
        // Only a custom resource may hold these.
        json!({"containers": [container(&json!({}))], "ephemeralContainers": [{"name": "debug", "image": "busybox"}]}),
    ]
}

fn strategies() -> Vec<Value> {
    let spec = one(&secure());
    let mut objects = Vec::new();
    let unavailable = [
        json!(null),
        json!(0),
        json!(1),
        json!(2),
        json!(5),
        json!(i32::MAX),
        json!("0%"),
        json!("24%"),
        json!("25%"),
        json!("26%"),
        json!("50%"),
        json!("51%"),
        json!("100%"),
        json!("025%"),
        json!("00000000000000000000000000050%"),
        json!("000%"),
        json!("+25%"),
        json!("-1%"),
        json!("25"),
        json!(-1),
        json!("101%"),
    ];
    for replicas in [json!(null), json!(0), json!(1), json!(2), json!(4), json!(10), json!(i32::MAX)] {
        for value in &unavailable {
            let mut object = around(Sort::BuiltIn(immutable_core::workload::Kind::Deployment), &spec);
            object["spec"]["replicas"] = replicas.clone();
            object["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": value, "maxSurge": 1}});
            objects.push(object);
        }
    }
    for sort in SORTS.into_iter().filter(|sort| sort.has_strategy()) {
        let field = if sort.names().0 == "Deployment" { "strategy" } else { "updateStrategy" };
        for strategy in [
            json!(null),
            json!({}),
            json!({"type": null}),
            json!({"type": ""}),
            json!({"type": "RollingUpdate"}),
            json!({"type": "Recreate"}),
            json!({"type": "OnDelete"}),
            json!({"type": "RollingUpdate", "rollingUpdate": null}),
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "60%"}}),
        ] {
            let mut object = around(sort, &spec);
            object["spec"][field] = strategy;
            objects.push(object);
        }
    }
    objects
}
