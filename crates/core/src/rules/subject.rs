//! What a rule looks at, one thing at a time: a container, an image, a volume, an update strategy.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::image::{Reference, ReferenceError};
use crate::workload::{Container, ContainerType, PodSpec, UpdateStrategy, Volume};

use super::text::{Text, Value, quote};

/// Something that rules judge. The engine walks it in Rust, the compiler in CEL.
pub trait Subject: Sized + 'static {
    /// What the Rust side of a rule sees.
    type View<'a>;
    /// The CEL variable that holds the same.
    const VARIABLE: &'static str;

    /// A value that every sentence about this subject may name.
    fn value(name: &str) -> Option<Value<Self>>;
}

type Predicate<S> = Box<dyn for<'a> Fn(&<S as Subject>::View<'a>) -> bool + Send + Sync>;
type Pointer<S> = Box<dyn for<'a> Fn(&<S as Subject>::View<'a>) -> Cow<'static, str> + Send + Sync>;

/// One way to break a rule. The first case of a check that holds is the finding.
pub struct Case<S: Subject> {
    holds: Predicate<S>,
    list: Option<Items>,
    cel: String,
    field: Pointer<S>,
    message: Text<S>,
    fix: Text<S>,
}

impl<S: Subject> Case<S> {
    /// A case that holds where `rust` says so; `cel` says the same over [`Subject::VARIABLE`].
    pub fn new(
        rust: impl for<'a> Fn(&S::View<'a>) -> bool + Send + Sync + 'static,
        cel: impl Into<String>,
        message: Text<S>,
        fix: Text<S>,
    ) -> Self {
        Self {
            holds: Box::new(rust),
            list: None,
            cel: cel.into(),
            field: Box::new(|_| Cow::Borrowed("")),
            message,
            fix,
        }
    }

    /// A case that holds where a list of what is wrong is not empty; `{list}` in the message tells all of it.
    pub fn listing(
        rust: impl for<'a> Fn(&S::View<'a>) -> Vec<String> + Send + Sync + 'static,
        cel: Items,
        message: &str,
        fix: &str,
    ) -> Self {
        let items = Arc::new(rust);
        let told = Arc::clone(&items);
        let list = Value::own(move |view: &S::View<'_>| told(view).join(", "), "l.join(', ')");
        Self {
            holds: Box::new(move |view| !items(view).is_empty()),
            list: Some(cel),
            cel: "l.size() > 0".to_owned(),
            field: Box::new(|_| Cow::Borrowed("")),
            message: Text::new(message, vec![("list", list)]),
            fix: Text::new(fix, Vec::new()),
        }
    }

    /// Names the field below the subject that must be written.
    pub fn at(mut self, field: &'static str) -> Self {
        self.field = Box::new(move |_| Cow::Borrowed(field));
        self
    }

    /// Names the field below the subject that must be written, where it depends on the subject.
    pub fn at_field(mut self, field: impl for<'a> Fn(&S::View<'a>) -> String + Send + Sync + 'static) -> Self {
        self.field = Box::new(move |view| Cow::Owned(field(view)));
        self
    }

    /// Whether the case holds.
    pub fn holds(&self, view: &S::View<'_>) -> bool {
        (self.holds)(view)
    }

    /// The list that [`Self::cel`] and the message know as `l`, in CEL, evaluated once.
    pub fn list_cel(&self) -> Option<String> {
        self.list.as_ref().map(Items::list)
    }

    /// [`Self::holds`] in CEL, where `l` is known.
    pub fn cel(&self) -> &str {
        &self.cel
    }

    /// [`Self::holds`] in CEL, without making a sentence: nearly every object passes.
    pub fn holds_cel(&self) -> String {
        self.list.as_ref().map_or_else(|| self.cel.clone(), Items::any)
    }

    /// JSON Pointer below the subject that must be written.
    pub fn field(&self, view: &S::View<'_>) -> Cow<'static, str> {
        (self.field)(view)
    }

    /// What is wrong.
    pub fn message(&self) -> &Text<S> {
        &self.message
    }

    /// What to write.
    pub fn fix(&self) -> &Text<S> {
        &self.fix
    }
}

/// What a listing case lists, in CEL, stated once: as the list, and as whether there is any.
#[derive(Default)]
pub struct Items {
    items: Vec<(String, String)>,
}

impl Items {
    /// One text, where a condition holds.
    pub fn when(mut self, condition: &str, text: &str) -> Self {
        self.items.push((format!("({condition} ? [{}] : [])", quote(text)), condition.to_owned()));
        self
    }

    /// A list of texts, and whether it has any.
    pub fn each(mut self, list: &str, any: &str) -> Self {
        self.items.push((format!("({any} ? {list} : [])"), any.to_owned()));
        self
    }

    /// A list of texts that can always be made, and whether it has any.
    pub fn any_of(mut self, list: &str, any: &str) -> Self {
        self.items.push((list.to_owned(), any.to_owned()));
        self
    }

    fn list(&self) -> String {
        let lists: Vec<&str> = self.items.iter().map(|(list, _)| list.as_str()).collect();
        lists.join(" + ")
    }

    fn any(&self) -> String {
        let conditions: Vec<String> = self.items.iter().map(|(_, any)| format!("({any})")).collect();
        conditions.join(" || ")
    }
}

/// Containers of all lists.
pub struct Containers;

/// A container and what surrounds it.
pub struct ContainerView<'a> {
    /// The list it stands in.
    pub container_type: ContainerType,
    /// The container.
    pub container: &'a Container,
    /// The pod that holds it.
    pub pod: &'a PodSpec,
    /// The names of its hostPath volumes.
    pub host_paths: Rc<BTreeSet<&'a str>>,
}

impl Subject for Containers {
    type View<'a> = ContainerView<'a>;
    const VARIABLE: &'static str = "c";

    fn value(_: &str) -> Option<Value<Self>> {
        None
    }
}

/// Volumes of a pod.
pub struct Volumes;

impl Subject for Volumes {
    type View<'a> = &'a Volume;
    const VARIABLE: &'static str = "v";

    fn value(_: &str) -> Option<Value<Self>> {
        None
    }
}

/// Images, of containers of all lists and of volumes.
pub struct Images;

/// An image and what it is to its reader, the kubelet: parsed once for all rules.
pub struct ImageView<'a> {
    /// As written; empty if absent.
    pub text: &'a str,
    /// What it refers to.
    pub reference: Result<Reference<'a>, ReferenceError>,
    /// How many characters it may have.
    pub longest: usize,
}

impl<'a> ImageView<'a> {
    /// Parses an image of a pod.
    pub fn new(text: &'a str, pod: &PodSpec) -> Self {
        Self { text, reference: Reference::parse(text), longest: pod.longest_image() }
    }
}

impl Subject for Images {
    type View<'a> = ImageView<'a>;
    /// A map of `at`, whose image it is, and `image`, its text.
    const VARIABLE: &'static str = "i";

    /// All but `image` are for valid references that have what they name.
    fn value(name: &str) -> Option<Value<Self>> {
        match name {
            "image" => Some(Value::written(|view: &ImageView<'_>| view.text, "i.image")),
            "longest" => {
                Some(Value::own(|view: &ImageView<'_>| view.longest.to_string(), "string(variables.longest_image)"))
            }
            // What stands before the tag.
            "untagged" => Some(Value::valid(
                |view: &ImageView<'_>| split_tag(view.text).0,
                "i.image.substring(0, i.image.lastIndexOf(':'))",
            )),
            "tag" => Some(Value::valid(
                |view: &ImageView<'_>| split_tag(view.text).1,
                "i.image.substring(i.image.lastIndexOf(':') + 1)",
            )),
            // What stands before the digest.
            "undigested" => Some(Value::valid(
                |view: &ImageView<'_>| view.text.split_once('@').map_or(view.text, |(name, _)| name),
                "i.image.split('@')[0]",
            )),
            _ => None,
        }
    }
}

fn split_tag(image: &str) -> (&str, &str) {
    image.rsplit_once(':').unwrap_or((image, ""))
}

/// The update strategy of a Deployment, StatefulSet or DaemonSet.
pub struct Strategies;

impl Subject for Strategies {
    type View<'a> = &'a UpdateStrategy;
    /// The spec that holds it.
    const VARIABLE: &'static str = "w";

    fn value(_: &str) -> Option<Value<Self>> {
        None
    }
}
