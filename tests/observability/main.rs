//! Alerts, dashboards, runbooks and health checks against the real thing: the running operator's metrics, a real API
//! server's, a real Prometheus and a real Lua.

#[path = "../support/mod.rs"]
mod support;

mod argocd;
mod dashboards;
mod metrics;
mod prometheus;
mod promql;
mod rules;
mod runbooks;
mod sample;
mod tools;
