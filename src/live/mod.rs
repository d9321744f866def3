//! What is in a cluster, read and narrowed: the operator fills its picture from watches, the command line from lists.

mod configs;
mod fill;
mod ours;
mod served;

pub(crate) use configs::{CONFIG_PAGE_SIZE, ConfigMap, config_fact};
pub(crate) use fill::{Lists, Unlisted};
pub(crate) use ours::{namespace_facts, stored_exception, stored_policy};
pub(crate) use served::{RawObject, Served};
