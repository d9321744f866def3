//! `immutable except`: prints an exception, or creates it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::command::{Called, Folder, call, cluster};
use crate::support::{Cluster, GENEROUS, TestNamespace, wait_until};
use crate::user::User;
use crate::workloads::{BAD, workload};

const REASON: &str = "the vendor ships no releases";

/// A call that needs no cluster, and finds none.
async fn except(arguments: &[&str]) -> Result<Called> {
    call(Path::new("/missing/kubeconfig"), &[&["except"], arguments].concat()).await
}

/// A call for one hour, with a reason.
async fn for_an_hour(arguments: &[&str]) -> Result<Called> {
    except(&[arguments, &["--for", "1h", "--reason", REASON]].concat()).await
}

/// What the API server would make of a printed manifest; nothing is written.
async fn stored(cluster: &Cluster, namespace: &TestNamespace, printed: &str) -> Result<Value> {
    let arguments =
        ["create", "--dry-run=server", "--validate=strict", "-n", namespace.name(), "-o", "json", "-f", "-"];
    let stored = cluster.kubectl(&arguments, printed).await?.success().context(printed.to_owned())?;
    Ok(serde_json::from_str(&stored)?)
}

#[tokio::test]
async fn what_is_printed_or_applied_excuses_the_workload() -> Result<()> {
    let cluster = cluster().await?;
    let namespace = cluster.namespace(&[]).await?;
    let folder = Folder::new()?;
    for name in ["web", "api"] {
        namespace.create_object(&workload("Deployment", name, BAD)).await?;
    }
    let policy = folder.write(
        "policy.yaml",
        &[json!({
            "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutablePolicy", "metadata": {"name": "tags"},
            "spec": {"enforcement": "Enforce", "rules": {"imageTag": {}, "imageDigest": {}}},
        })],
    )?;
    let scan =
        async || call(cluster.kubeconfig(), &["scan", "-n", namespace.name(), "--policy", &policy, "-o", "json"]).await;
    let both = ["Deployment/api image-digest", "Deployment/api image-tag"];
    ensure!(scan().await?.results("fail")?.len() == 4);
    let arguments = [
        "deploy/web",
        "-n",
        namespace.name(),
        "--rule",
        "image-tag",
        "--rule",
        "image-digest",
        "--policy",
        "impol/tags",
        "--container",
        "main",
        "--image",
        "registry.example/*",
    ];
    let printed = for_an_hour(&arguments).await?;
    printed.exits(0)?;
    cluster.kubectl(&["apply", "-f", "-"], &printed.stdout).await?.success()?;
    let scanned = scan().await?;
    ensure!(scanned.results("skip")? == ["Deployment/web image-digest", "Deployment/web image-tag"]);
    ensure!(scanned.results("fail")? == both, "{}", scanned.stdout);

    let apply = ["except", "deployment.apps/api", "-n", namespace.name(), "--rule", "image-tag", "--for", "90m"];
    let apply = [&apply[..], &["--reason", REASON, "--apply", "--name", "legacy.api"]].concat();
    let applied = call(cluster.kubeconfig(), &apply).await?;
    let expected = format!("ImmutableException {}/legacy.api created; it ends by itself at ", namespace.name());
    ensure!(applied.exits(0)?.stdout.starts_with(&expected), "{}", applied.stdout);
    ensure!(scan().await?.results("fail")? == both[..1]);
    call(cluster.kubeconfig(), &apply).await?.exits(2)?.says("legacy.api exists already; choose another --name")?;
    let mut elsewhere = apply.clone();
    elsewhere[3] = "nowhere";
    call(cluster.kubeconfig(), &elsewhere).await?.exits(3)?.says("there is no namespace nowhere")?;
    Ok(())
}

#[tokio::test]
async fn the_made_name_is_that_of_what_is_excused_so_that_nothing_is_excused_twice() -> Result<()> {
    let name = async |arguments: &[&str]| -> Result<String> {
        let base = ["deploy/web", "--rule", "image-tag", "--reason", REASON];
        let printed = except(&[&base[..], arguments].concat()).await?;
        let object: Value = serde_saphyr::from_str(&printed.exits(0)?.stdout)?;
        Ok(object["metadata"]["name"].as_str().context("no name")?.to_owned())
    };
    // Another version of this program must make the same one.
    let once = "deployment-web-image-tag-bca4209b8806";
    for same in [&["--for", "1h"][..], &["--for", "2h", "--ticket", "SHOP-1"], &["--for", "1h", "-n", "shop"]] {
        ensure!(name(same).await? == once, "{same:?}: {}", name(same).await?);
    }
    let mut names = vec![once.to_owned()];
    for other in [
        &["--container", "main"][..],
        &["--image", "main"],
        &["--policy", "main"],
        &["--policy", "impol/main"],
        &["--rule", "image-digest"],
    ] {
        names.push(name(&[&["--for", "1h"], other].concat()).await?);
    }
    let number = names.len();
    names.sort();
    names.dedup();
    ensure!(names.len() == number, "{names:?}");
    let rules = async |one, other| {
        let arguments = ["deploy/web", "--rule", one, "--rule", other, "--container", "b", "--container", "a"];
        for_an_hour(&arguments)
            .await
            .map(|called| called.stdout.lines().find(|line| line.contains("name: ")).map(str::to_owned))
    };
    ensure!(rules("image-tag", "image-digest").await? == rules("image-digest", "image-tag").await?);
    Ok(())
}

#[tokio::test]
async fn what_is_created_and_not_honoured_is_said_with_the_reason() -> Result<()> {
    let cluster = cluster().await?;
    let namespace = cluster.namespace(&[]).await?;
    namespace
        .create_object(&json!({
            "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutablePolicy", "metadata": {"name": "strict"},
            "spec": {
                "enforcement": "Audit", "rules": {"imageTag": {}, "imageDigest": {}},
                "exceptions": {"maxDuration": "1h", "rules": ["image-tag"]},
            },
        }))
        .await?;
    let applies = ["--reason", REASON, "--apply", "-n", namespace.name()];
    let apply = async |arguments: &[&str]| {
        call(cluster.kubeconfig(), &[&["except", "deploy/web"], arguments, &applies[..]].concat()).await
    };
    let strict = format!("not honoured by policy {}/strict: ", namespace.name());
    for (arguments, expected) in [
        (["--rule", "image-tag", "--for", "90m", "--name", "long"], format!("{strict}TooLong, ")),
        (
            ["--rule", "image-digest", "--for", "1h", "--name", "rule"],
            format!("{strict}RuleNotExcusable, image-digest"),
        ),
        (
            ["--rule", "image-tag", "--for", "1h", "--policy", "impol/no"],
            "it excuses nothing: PolicyNotFound".to_owned(),
        ),
    ] {
        apply(&arguments).await?.exits(0)?.says(&expected)?;
    }
    // One that is honoured, and then again: it would be the same one.
    let honoured = ["--rule", "image-tag", "--for", "30m", "--policy", "impol/strict"];
    let created = apply(&honoured).await?;
    ensure!(created.exits(0)?.stderr.is_empty(), "{}", created.stderr);
    let again = apply(&honoured).await?;
    again.exits(2)?.says("exists already")?.says("kubectl patch immutableexception deployment-web-image-tag-")?;
    // What is printed to renew it does so.
    let renew = again.stderr.lines().find_map(|line| line.trim().strip_prefix("kubectl ")).context("no command")?;
    let renew = renew.replace('\'', "");
    let renewed = cluster.kubectl(&renew.split(' ').collect::<Vec<_>>(), "").await?;
    ensure!(renewed.success()?.contains("patched"));

    // Who may create it and not read policies is told nothing of them.
    let user = User::create(cluster, &namespace, &["pods"]).await?;
    let rbac = "rbac.authorization.k8s.io";
    for object in [
        json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "excepts"},
            "rules": [{"apiGroups": ["immutable.dev"], "resources": ["immutableexceptions"], "verbs": ["create"]}],
        }),
        json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": "excepts"},
            "subjects": [{"kind": "User", "name": user.name, "apiGroup": rbac}],
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "excepts"},
        }),
    ] {
        namespace.create_object(&object).await?;
    }
    let arguments = ["except", "deploy/api", "--rule", "image-digest", "--for", "90m"];
    wait_until("the right to create one", GENEROUS, async || {
        let created = call(user.kubeconfig(), &[&arguments[..], &applies].concat()).await?;
        ensure!(created.exits(0)?.stderr.is_empty(), "{}", created.stderr);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_people_write_comes_through_as_it_is() -> Result<()> {
    let cluster = cluster().await?;
    let namespace = cluster.namespace(&[]).await?;
    let texts = [
        "it's \"quoted\" and 'quoted' and \\escaped\\ {{ too }}",
        "two\nlines: and\n  a third # with\n- more\n---\nkind: Pod\n",
        "unicode: \u{fc}\u{df} \u{1f512} \u{202e}turned\u{feff}\u{85}\u{2028}around",
        "controls: \u{1}\u{1b}[31m\u{7f}\ttab\r\nend",
        "  blanks around it  ",
        "- --- ... %YAML !!binary &a *b | > @ ` ? [] {} , #",
        "1234567890",
        "0123456789:59:59",
        "2026-12-01T00:00:00Z",
        "1_000_000_000",
        "-0x123456789abcdef",
        "~~~~~~~~~~~~~ null",
        "--reason=other words",
    ];
    let tickets =
        ["yes", "NO", "on", "null", "~", "1e3", ".inf", "0b101", "0o17", "12:30", "=", "<<", "2026-12-01", "y"];
    for (index, reason) in texts.iter().enumerate() {
        for ticket in tickets.iter().skip(index % 2).step_by(2).take(if index < 2 { 7 } else { 1 }) {
            let arguments = ["deploy/web", "-n", namespace.name(), "--rule", "image-tag", "--for", "3d"];
            let arguments = [&arguments[..], &["--reason", reason, "--ticket", ticket]].concat();
            let printed = except(&arguments).await?;
            let stored = stored(cluster, &namespace, &printed.exits(0)?.stdout).await?;
            ensure!(stored["spec"]["reason"] == *reason, "{reason:?}: {stored}");
            ensure!(stored["spec"]["ticket"] == *ticket, "{ticket:?}: {stored}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_longest_of_everything_is_still_accepted() -> Result<()> {
    let cluster = cluster().await?;
    let namespace = cluster.namespace(&[]).await?;
    let name = format!("{}.{}", "a".repeat(126), "b".repeat(126));
    let reason = "\u{fc}".repeat(1024);
    let target = format!("ReplicationController/{name}");
    let mut arguments = vec![target.as_str(), "-n", namespace.name(), "--rule", "read-only-root-filesystem"];
    arguments.extend(["--for", "720h", "--reason", &reason, "--policy", &name]);
    let printed = except(&arguments).await?;
    let stored_object = stored(cluster, &namespace, &printed.exits(0)?.stdout).await?;
    ensure!(stored_object["spec"]["workloads"]["names"] == json!([name]), "{stored_object}");
    ensure!(printed.stderr.is_empty(), "{}", printed.stderr);
    // The names of two exceptions for one workload are not the same.
    let again = except(&[&arguments[..], &["--container", "main"]].concat()).await?;
    let again = stored(cluster, &namespace, &again.exits(0)?.stdout).await?;
    ensure!(again["metadata"]["name"] != stored_object["metadata"]["name"], "{again}");
    Ok(())
}

#[tokio::test]
async fn short_names_become_kinds_and_the_name_is_readable() -> Result<()> {
    let kinds = [
        ("po", "Pod"),
        ("deploy", "Deployment"),
        ("deployments", "Deployment"),
        ("Deployment", "Deployment"),
        ("DEPLOYMENT", "Deployment"),
        ("deployment.apps", "Deployment"),
        ("sts", "StatefulSet"),
        ("ds", "DaemonSet"),
        ("rs", "ReplicaSet"),
        ("rc", "ReplicationController"),
        ("jobs", "Job"),
        ("cj", "CronJob"),
        ("cronjob.batch", "CronJob"),
        ("podtemplates", "PodTemplate"),
        ("Rollout", "Rollout"),
    ];
    for (short, kind) in kinds {
        let printed = for_an_hour(&[&format!("{short}/web-*"), "--rule", "image-tag"]).await?;
        let object: Value = serde_saphyr::from_str(&printed.exits(0)?.stdout)?;
        ensure!(object["spec"]["workloads"] == json!({"kinds": [kind], "names": ["web-*"]}), "{short}: {object}");
        let name = object["metadata"]["name"].as_str().context("no name")?;
        ensure!(name.starts_with(&format!("{}-web-image-tag-", kind.to_ascii_lowercase())), "{name}");
        ensure!(object["metadata"]["namespace"] == "default", "{object}");
        let ends: jiff::Timestamp = object["spec"]["expiresAt"].as_str().context("no expiry")?.parse()?;
        let left = ends.duration_since(jiff::Timestamp::now()).as_secs();
        ensure!((3400..=3600).contains(&left) && ends.subsec_nanosecond() == 0, "{ends}");
    }
    for_an_hour(&["Deploymnt/web", "--rule", "image-tag"]).await?.exits(0)?.says("did you mean Deployment?")?;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_what_to_write() -> Result<()> {
    let base = ["deploy/web", "--rule", "image-tag", "--for", "1h", "--reason", REASON];
    let long = "x".repeat(1025);
    let cases: [(usize, &str, &str); 25] = [
        (0, "web", "write KIND/NAME"),
        (0, "/web", "write KIND/NAME"),
        (0, "deploy/", "write KIND/NAME"),
        (0, "deploy/web/app", "write KIND/NAME"),
        (0, "deploy/..", "write KIND/NAME"),
        (0, "deploy/a..b", "write KIND/NAME"),
        (0, "deploy/../../x", "write KIND/NAME"),
        (0, "deploy/web\n- x", "write KIND/NAME"),
        (0, "deploy/\u{fc}", "write KIND/NAME"),
        (0, "deploy/web'\"", "write KIND/NAME"),
        (0, "dploy/web", "did you mean Deployment?"),
        (0, "deployment.batch/web", "write Deployment for that of Kubernetes"),
        (0, "K\u{fc}nd/web", "is no kind that is known"),
        (2, "image-tags", "did you mean image-tag?"),
        (2, "image-tag\n", "did you mean image-tag?"),
        (4, "0h", "is over at once"),
        (4, "500ms", "is over at once"),
        (4, "-3h", "is over at once"),
        (4, "72", "write a duration such as 72h"),
        (4, "", "write a duration such as 72h"),
        (4, "99999999h", "never ends"),
        (6, "short", "write at least 10 characters"),
        (6, "                  x", "write at least 10 characters"),
        (6, &long, "write at most 1024 characters"),
        (0, "", "write KIND/NAME"),
    ];
    for (place, text, expected) in cases {
        let mut arguments = base;
        arguments[place] = text;
        let called = except(&arguments).await?;
        called.exits(2)?.says(expected)?;
        ensure!(called.stdout.is_empty() && !called.stderr.contains("\n- x"), "{text:?}: {}", called.stdout);
    }
    let more: [(&[&str], &str); 12] = [
        (&["--policy", "a/b"], "--policy \"a/b\" is no policy"),
        (&["--policy", "a..b"], "names no policy"),
        (&["--policy", "impol/\u{fc}"], "names no policy"),
        (&["--container", "a b"], "no name of a container"),
        (&["--container", "a.b"], "no name of a container"),
        (&["--image", "a b"], "printable ASCII without blanks"),
        (&["--image", ""], "the pattern is empty"),
        (&["--name", "A"], "--name \"A\" is no name"),
        (&["--name", "a..b"], "--name \"a..b\" is no name"),
        (&["--name", "../x"], "is no name"),
        (&["-n", "a.b"], "is no namespace"),
        (&["--ticket", &long], "write at most 256 characters"),
    ];
    for (arguments, expected) in more {
        let called = except(&[&base[..], arguments].concat()).await?;
        called.exits(2)?.says(expected)?;
        ensure!(called.stdout.is_empty(), "{}", called.stdout);
    }
    let images: Vec<String> = (0..16).map(|number| format!("image-{number}")).collect();
    let images: Vec<&str> = images.iter().flat_map(|image| ["--image", image.as_str()]).collect();
    except(&[&base[..], &images].concat()).await?.exits(2)?.says("more than 16 patterns")?;
    except(&["deploy/web", "--rule", "image-tag", "--for", "721h", "--reason", REASON])
        .await?
        .exits(0)?
        .says("720h")?;
    // What would be created must be in some cluster.
    except(&[&base[..], &["--apply"]].concat()).await?.exits(3)?.says("/missing/kubeconfig")?;
    except(&["deploy/web", "--for", "1h", "--reason", REASON]).await?.exits(2)?.says("--rule")?;
    Ok(())
}
