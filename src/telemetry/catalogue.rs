//! A registry that can tell what is in it. Prometheus' own tells only of metrics that have a series, and what has never
//! happened has none; alerts are written for exactly that.

use prometheus::Registry;
use prometheus::core::Collector;
use prometheus::proto::{MetricFamily, MetricType};

/// What a metric is called, and what tells its series apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name, without what a histogram adds to it.
    pub name: String,
    /// Whether it is a histogram, whose series are buckets, a sum and a count.
    pub is_histogram: bool,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// What it counts.
    pub help: String,
}

/// All metrics of the operator.
#[derive(Default)]
pub(super) struct Catalogue {
    registry: Registry,
    described: Vec<Described>,
}

impl Catalogue {
    /// Takes a metric in.
    ///
    /// # Errors
    /// Another one has its name.
    pub(super) fn register(&mut self, metric: Box<dyn Collector>) -> prometheus::Result<()> {
        let families = metric.collect();
        let is_histogram = |name: &str| {
            let mut of_name = families.iter().filter(|family| family.name() == name);
            of_name.any(|family| family.get_field_type() == MetricType::HISTOGRAM)
        };
        let described = metric.desc().into_iter().map(|desc| Described {
            name: desc.fq_name.clone(),
            is_histogram: is_histogram(&desc.fq_name),
            labels: desc.variable_labels.clone(),
            help: desc.help.clone(),
        });
        self.described.extend(described);
        self.registry.register(metric)
    }

    /// What there is to see.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// What there could be to see.
    pub(super) fn described(&self) -> &[Described] {
        &self.described
    }
}
