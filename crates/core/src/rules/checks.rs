//! What a rule with its settings looks for, in both languages.

use crate::workload::{ContainerType, Kind};

use super::image::INVALID;
use super::immutable_config::ConfigKind;
use super::subject::{Case, Containers, Images, Strategies, Volumes};

/// CEL that is true for a container `c` of the list of init containers: names are unique over all lists.
pub(crate) const IS_INIT: &str = "c.name in variables.init_names";

/// Everything that one rule of one policy checks; built once per policy.
#[derive(Default)]
pub struct Checks {
    /// What it asks of containers.
    pub containers: Vec<ContainerCheck>,
    /// What it asks of images that are valid references; see [`Self::image_cases`].
    pub images: Vec<Case<Images>>,
    /// What it asks of volumes; the first case that holds is the finding.
    pub volumes: Vec<Case<Volumes>>,
    /// What it asks of update strategies.
    pub strategies: Vec<StrategyCheck>,
    /// Which referenced objects must be immutable.
    pub config: Option<Vec<ConfigKind>>,
    /// The fields it reads: an update that leaves them all as they were passes.
    pub reads: Vec<Field>,
}

/// What a rule asks of the containers of some lists.
pub struct ContainerCheck {
    /// The lists.
    pub lists: &'static [ContainerType],
    /// Whether the field exists on Linux only, so that Windows pods are excused.
    pub linux_only: bool,
    /// The first that holds is the finding.
    pub cases: Vec<Case<Containers>>,
}

/// What a rule asks of the update strategy of one kind.
pub struct StrategyCheck {
    /// The kind.
    pub kind: Kind,
    /// The first that holds is the finding.
    pub cases: Vec<Case<Strategies>>,
}

/// A field that a rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// of the pod spec
    Pod(&'static str),
    /// of each container
    Container(&'static str),
    /// of each volume
    Volume(&'static str),
}

impl Checks {
    /// Checks that ask something of the containers of all lists.
    pub fn all_containers(reads: &[Field], cases: Vec<Case<Containers>>) -> Self {
        Self::containers(&ContainerType::ALL, reads, cases)
    }

    /// Checks that ask something of the containers of some lists.
    pub fn containers(lists: &'static [ContainerType], reads: &[Field], cases: Vec<Case<Containers>>) -> Self {
        Self {
            containers: vec![ContainerCheck { lists, linux_only: false, cases }],
            reads: reads.to_vec(),
            ..Self::default()
        }
    }

    /// Checks that ask something of images.
    pub fn images(cases: Vec<Case<Images>>) -> Self {
        let reads = vec![Field::Container("image"), Field::Volume("image")];
        Self { images: cases, reads, ..Self::default() }
    }

    /// What it asks of images, invalid ones first; the first case that holds is the finding.
    pub fn image_cases(&self) -> impl Iterator<Item = &Case<Images>> {
        let invalid = if self.images.is_empty() { &[][..] } else { INVALID.as_slice() };
        invalid.iter().chain(&self.images)
    }

    /// Whether they ask anything of a pod spec.
    pub fn concern_pods(&self) -> bool {
        !(self.containers.is_empty() && self.images.is_empty() && self.volumes.is_empty())
    }

    /// The same for a field that Windows pods do not have.
    pub fn linux_only(mut self) -> Self {
        for check in &mut self.containers {
            check.linux_only = true;
        }
        self.reads.push(Field::Pod("os"));
        self
    }
}
