//! `/healthz`, `/readyz` and `/metrics`. Nothing can be changed through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

/// How long the main loop may be silent; a pass with many slow writes takes its time.
const SILENCE: Duration = Duration::from_secs(300);

/// What the probes of the kubelet are told.
#[derive(Clone)]
pub(super) struct Health {
    started: Instant,
    alive: Arc<AtomicU64>,
    ready: Arc<AtomicBool>,
}

impl Default for Health {
    fn default() -> Self {
        Self { started: Instant::now(), alive: Arc::default(), ready: Arc::default() }
    }
}

impl Health {
    /// The main loop has come round.
    pub(super) fn alive(&self) {
        self.alive.store(self.started.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// Every watch has told everything once.
    pub(super) fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        let silent = self.started.elapsed().as_secs().saturating_sub(self.alive.load(Ordering::Relaxed));
        silent < SILENCE.as_secs()
    }
}

/// Serves until told to stop.
pub(super) async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(health)
        .route("/metrics", get(move || std::future::ready(metrics.text())));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn healthz(State(health): State<Health>) -> impl IntoResponse {
    if health.is_alive() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the main loop is silent")
    }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first lists")
    }
}
