//! What is in a cluster, read and narrowed: the operator fills its picture from watches, the command line from lists.

mod configs;
mod contents;
mod digest_key;
mod dynamic;
mod fill;
mod lenient;
mod ours;
mod served;

pub(crate) use configs::{CONFIG_PAGE_SIZE, ConfigMap, config_fact};
pub(crate) use contents::{config_resource, read_config};
pub(crate) use digest_key::{DIGEST_KEY_FIELD, DIGEST_KEY_NAME, DigestKeyError, read_digest_key};
pub(crate) use dynamic::dynamic_resource;
pub(crate) use fill::{Lists, StoredKey, Unlisted};
pub(crate) use lenient::Lenient;
pub(crate) use ours::{namespace_facts, stored_exception, stored_policy};
pub(crate) use served::{RawObject, Served, narrow_metadata};
