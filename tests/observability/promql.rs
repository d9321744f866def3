//! Which labels a query uses, and whether they are there. Every label that is asked for must exist at the place where
//! it is asked for: a `by (rules)` over a metric that has `rule` is a query that Prometheus takes and that means nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail, ensure};
use promql_parser::label::MatchOp;
use promql_parser::parser::{self, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector};

type Labels = BTreeSet<String>;

/// What Prometheus adds to everything that it scrapes, and `cluster`, which those add who watch several.
const OF_TARGETS: [&str; 3] = ["cluster", "instance", "job"];

/// The metrics that there are, with their labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    metrics: BTreeMap<String, Labels>,
}

/// A condition on a label: the metric, the label, and the value where it must be equal to one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) metric: String,
    pub(crate) label: String,
    pub(crate) value: String,
}

/// What a query asks of which metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) metrics: BTreeSet<String>,
    pub(crate) values: BTreeSet<Asked>,
}

impl Schema {
    /// Takes in a metric that Prometheus scrapes.
    pub(crate) fn scraped(&mut self, name: &str, labels: impl IntoIterator<Item = impl Into<String>>) {
        let labels = labels.into_iter().map(Into::into).chain(OF_TARGETS.map(ToOwned::to_owned));
        self.metrics.entry(name.to_owned()).or_default().extend(labels);
    }

    /// Takes in what a recording rule makes.
    pub(crate) fn recorded(&mut self, name: &str, labels: Labels) {
        self.metrics.insert(name.to_owned(), labels);
    }

    /// The labels of what a query returns, and what it asks for.
    ///
    /// # Errors
    /// It is no `PromQL`, or asks for a metric or a label that is not there.
    pub(crate) fn check(&self, query: &str) -> Result<(Labels, Uses)> {
        let expression = parser::parse(query).map_err(|error| anyhow!("{error}: {query}"))?;
        let mut uses = Uses::default();
        let labels = self.labels(&expression, &mut uses).with_context(|| query.to_owned())?;
        Ok((labels, uses))
    }

    fn labels(&self, expression: &Expr, uses: &mut Uses) -> Result<Labels> {
        match expression {
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(Labels::new()),
            Expr::Paren(inner) => self.labels(&inner.expr, uses),
            Expr::Unary(inner) => self.labels(&inner.expr, uses),
            Expr::Subquery(inner) => self.labels(&inner.expr, uses),
            Expr::VectorSelector(selector) => self.selected(selector, uses),
            Expr::MatrixSelector(matrix) => self.selected(&matrix.vs, uses),
            Expr::Aggregate(aggregate) => {
                let of = self.labels(&aggregate.expr, uses)?;
                match (&aggregate.modifier, aggregate.op.to_string().as_str()) {
                    (None, "topk" | "bottomk") => Ok(of),
                    (None, _) => Ok(Labels::new()),
                    (Some(LabelModifier::Include(by)), _) => all(&by.labels, &of),
                    (Some(LabelModifier::Exclude(without)), _) => {
                        all(&without.labels, &of)?;
                        Ok(of.into_iter().filter(|label| !without.labels.contains(label)).collect())
                    }
                }
            }
            Expr::Binary(binary) => self.combined(binary, uses),
            Expr::Call(call) => self.called(call, uses),
            Expr::Extension(_) => bail!("the parser makes no such thing"),
        }
    }

    fn selected(&self, selector: &VectorSelector, uses: &mut Uses) -> Result<Labels> {
        let name = selector.name.as_ref().context("a selector must name its metric")?;
        let labels = self.metrics.get(name).with_context(|| format!("there is no metric {name}"))?;
        uses.metrics.insert(name.clone());
        ensure!(selector.matchers.or_matchers.is_empty(), "matchers with `or` are not for every Prometheus");
        for matcher in &selector.matchers.matchers {
            ensure!(labels.contains(&matcher.name), "{name} has no label {}, only {labels:?}", matcher.name);
            let values: Vec<&str> = match &matcher.op {
                MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.as_str()],
                // Those that are only a list of names can be looked up too.
                MatchOp::Re(_) | MatchOp::NotRe(_) => {
                    matcher.value.split('|').filter(|value| is_plain(value)).collect()
                }
            };
            let asked =
                |value: &&str| Asked { metric: name.clone(), label: matcher.name.clone(), value: (*value).to_owned() };
            uses.values.extend(values.iter().map(asked));
        }
        Ok(labels.clone())
    }

    fn combined(&self, binary: &BinaryExpr, uses: &mut Uses) -> Result<Labels> {
        let (left, right) = (self.labels(&binary.lhs, uses)?, self.labels(&binary.rhs, uses)?);
        let modifier = binary.modifier.as_ref();
        let matching = modifier.and_then(|modifier| modifier.matching.as_ref());
        if let Some(LabelModifier::Include(on) | LabelModifier::Exclude(on)) = matching {
            all(&on.labels, &left)?;
            all(&on.labels, &right)?;
        }
        let operator = binary.op.to_string();
        Ok(match (operator.as_str(), matching, modifier.map(|modifier| &modifier.card)) {
            ("and" | "unless", ..) => left,
            ("or", ..) => left.union(&right).cloned().collect(),
            (_, _, Some(VectorMatchCardinality::ManyToOne(more))) => {
                left.union(&all(&more.labels, &right)?).cloned().collect()
            }
            (_, _, Some(VectorMatchCardinality::OneToMany(more))) => {
                right.union(&all(&more.labels, &left)?).cloned().collect()
            }
            (_, Some(LabelModifier::Include(on)), _) => on.labels.iter().cloned().collect(),
            (_, Some(LabelModifier::Exclude(ignored)), _) => {
                left.into_iter().filter(|label| !ignored.labels.contains(label)).collect()
            }
            // A number on one side takes the labels of the other.
            (_, None, _) => left.union(&right).cloned().collect(),
        })
    }

    fn called(&self, call: &Call, uses: &mut Uses) -> Result<Labels> {
        let mut labels = Labels::new();
        for argument in &call.args.args {
            labels.extend(self.labels(argument, uses)?);
        }
        let text = |index: usize| match call.args.args.get(index).map(|argument| &**argument) {
            Some(Expr::StringLiteral(literal)) => Ok(literal.val.clone()),
            other => Err(anyhow!("{} needs a text, not {other:?}", call.func.name)),
        };
        match call.func.name {
            "histogram_quantile" => {
                ensure!(labels.remove("le"), "histogram_quantile needs the label le");
            }
            "label_replace" => {
                all(&[text(3)?], &labels)?;
                labels.insert(text(1)?);
            }
            "absent" => labels.clear(),
            _ => {}
        }
        Ok(labels)
    }
}

/// These labels, all of which must be there.
fn all(wanted: &[String], there: &Labels) -> Result<Labels> {
    for label in wanted {
        ensure!(there.contains(label), "there is no label {label} here, only {there:?}");
    }
    Ok(wanted.iter().cloned().collect())
}

fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

#[test]
fn labels_that_are_not_there_are_found() {
    let mut schema = Schema::default();
    schema.scraped("a_total", ["x"]);
    schema.scraped("b", ["y"]);
    schema.scraped("c_bucket", ["x", "le"]);
    schema.recorded("job:r:sum", Labels::from(["x".to_owned()]));
    for right in [
        "sum by (x, job) (rate(a_total{x=\"1\"}[5m])) > 0",
        "b and on (cluster, job, instance) (a_total == 1)",
        "topk(3, sum by (x) (a_total)) * 60 or 0 * sum(b)",
        "histogram_quantile(0.9, sum by (le) (rate(c_bucket[5m])))",
        "sum by (z) (label_replace(b, \"z\", \"$1\", \"y\", \"(.*)\"))",
        "job:r:sum{x=\"1\"} offset 1h",
        "absent(b)",
    ] {
        assert!(schema.check(right).is_ok(), "{right}: {:?}", schema.check(right));
    }
    for wrong in [
        "d",
        "a_total{y=\"1\"}",
        "sum by (y) (a_total)",
        "sum by (y) (sum by (x) (a_total))",
        "sum without (y) (a_total)",
        "b and on (x) a_total",
        "histogram_quantile(0.9, sum by (x) (rate(c_bucket[5m])))",
        "sum by (z) (label_replace(b, \"z\", \"$1\", \"x\", \"(.*)\"))",
        "sum by (x) (b * on (job) group_left (z) a_total)",
        "job:r:sum{job=\"1\"}",
        "{x=\"1\"}",
        "sum by (x (a_total)",
        "sum by (x) (absent(a_total))",
    ] {
        assert!(schema.check(wrong).is_err(), "{wrong}");
    }
}
