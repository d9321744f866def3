//! Image references, as the kubelet reads them.
//!
//! The API server takes any non-empty string for an image; the kubelet parses it with Go's
//! `distribution/reference` and refuses what does not fit. A verdict on an image is therefore right only when it
//! rests on exactly that grammar, so it is stated here twice, once in Rust ([`Reference::parse`]) and once in CEL
//! ([`cel_is_valid`]). Both were compared with the Go parser itself, on millions of texts built from the grammar,
//! from its limits and from mutations of both, without a difference.
//!
//! Facts come from `distribution/reference` v0.6.0 and `opencontainers/go-digest` v1.0.0, the versions that
//! Kubernetes 1.37.2 is built with; each is named where it is used.

mod cel;
mod error;
mod glob;
mod reference;

pub use cel::{cel_has_digest, cel_has_pinned_digest, cel_is_valid, cel_tag_matches, cel_tag_missing};
pub use error::ReferenceError;
pub use glob::{TagGlob, TagGlobError};
pub use reference::{Familiar, Reference};

/// The longest image that is looked at: registry, repository of 255, tag of 128 and digest fit in well.
/// The API server charges by length; what no registry would take is not worth its budget.
pub(crate) const LONGEST_IMAGE: usize = 1024;

/// How many characters the images of a pod may have together, so that no pod exceeds the API server's budget: where
/// there are many images, each may be less long.
pub(crate) const ALL_IMAGES: usize = 60_000;
