//! `immutable check` on one file of 10,000 manifests.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use crate::Row;
use crate::statistics::percentile;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    for number in 0..10_000 {
        write!(file, "{}", manifest(number))?;
    }
    file.flush()?;
    let megabytes = f64::from(u32::try_from(file.as_file().metadata()?.len())?) / 1e6;
    let mut wall = Vec::new();
    for _ in 0..9 {
        let started = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_immutable"))
            .arg("check")
            .arg(file.path())
            .stdout(Stdio::null())
            .status()?;
        wall.push(started.elapsed().as_secs_f64());
        ensure!(status.code() == Some(1), "some of the manifests have findings, so check must exit 1, not {status}");
    }
    // The largest of the children so far, and check is the only one: kibibytes on Linux.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss() as f64 * 1024.0 / 1e6;
    let what = format!("check, one file of 10,000 manifests, {megabytes:.1} MB");
    Ok(vec![
        Row::at_most(&what, percentile(&mut wall, 0.5), 0.6, "s", ", median of 9"),
        Row::at_most("the same, peak of resident memory", peak, 100.0, "MB", ""),
    ])
}

/// Every tenth has findings, as in a cluster on its way.
fn manifest(number: u32) -> String {
    let image = if number.is_multiple_of(10) {
        "nginx:latest".to_owned()
    } else {
        format!("registry.example/shop/web-{number}:1.{number}.0@sha256:{number:064x}")
    };
    format!(
        "---
# Deployment {number}: written by a template, as most manifests are.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-{number}
  namespace: shop-{}
  labels:
    app.kubernetes.io/name: web-{number}
    app.kubernetes.io/instance: shop
    app.kubernetes.io/managed-by: Helm
  annotations:
    description: \"serves page {number}: see https://wiki.example/shop/web-{number}\"
spec:
  replicas: 3
  revisionHistoryLimit: 5
  selector:
    matchLabels:
      app.kubernetes.io/name: web-{number}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 25%
      maxUnavailable: 25%
  template:
    metadata:
      labels:
        app.kubernetes.io/name: web-{number}
    spec:
      serviceAccountName: web-{number}
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        fsGroup: 10001
      containers:
      - name: web
        image: {image}
        args: [\"--port=8080\", \"--log-level=info\"]
        ports:
        - name: http
          containerPort: 8080
        env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: SETTINGS
          valueFrom:
            configMapKeyRef:
              name: settings-{number}
              key: settings.yaml
        resources:
          requests:
            cpu: 100m
            memory: 64Mi
          limits:
            memory: 128Mi
        readinessProbe:
          httpGet:
            path: /readyz
            port: http
          periodSeconds: 5
        securityContext:
          readOnlyRootFilesystem: true
          allowPrivilegeEscalation: false
          capabilities:
            drop: [ALL]
        volumeMounts:
        - name: tmp
          mountPath: /tmp
      volumes:
      - name: tmp
        emptyDir:
          sizeLimit: 16Mi
",
        number % 50
    )
}
