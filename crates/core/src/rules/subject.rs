//! What a rule looks at, one thing at a time: a container, a volume, an update strategy.

use crate::image::{Reference, ReferenceError};
use crate::workload::{Container, ContainerType, PodSpec, UpdateStrategy, Volume};

use super::text::{Text, Value};

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
type Pointer<S> = Box<dyn for<'a> Fn(&<S as Subject>::View<'a>) -> String + Send + Sync>;

/// One way to break a rule. The first case of a check that holds is the finding.
pub struct Case<S: Subject> {
    holds: Predicate<S>,
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
        Self { holds: Box::new(rust), cel: cel.into(), field: Box::new(|_| String::new()), message, fix }
    }

    /// Names the field below the subject that must be written.
    pub fn at(self, field: &'static str) -> Self {
        self.at_field(move |_| field.to_owned())
    }

    /// Names the field below the subject that must be written, where it depends on the subject.
    pub fn at_field(mut self, field: impl for<'a> Fn(&S::View<'a>) -> String + Send + Sync + 'static) -> Self {
        self.field = Box::new(field);
        self
    }

    /// Whether the case holds.
    pub fn holds(&self, view: &S::View<'_>) -> bool {
        (self.holds)(view)
    }

    /// [`Self::holds`] in CEL.
    pub fn cel(&self) -> &str {
        &self.cel
    }

    /// JSON Pointer below the subject that must be written.
    pub fn field(&self, view: &S::View<'_>) -> String {
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
    /// Its image, parsed once for all rules.
    pub image: Result<Reference<'a>, ReferenceError>,
}

impl Subject for Containers {
    type View<'a> = ContainerView<'a>;
    const VARIABLE: &'static str = "c";

    fn value(name: &str) -> Option<Value<Self>> {
        image_value(name)
    }
}

/// Volumes of a pod.
pub struct Volumes;

/// A volume and what it mounts.
pub struct VolumeView<'a> {
    /// The volume.
    pub volume: &'a Volume,
    /// The image it mounts, parsed, if it mounts one.
    pub image: Option<Result<Reference<'a>, ReferenceError>>,
}

impl Subject for Volumes {
    type View<'a> = VolumeView<'a>;
    const VARIABLE: &'static str = "v";

    fn value(name: &str) -> Option<Value<Self>> {
        image_value(name)
    }
}

/// A subject that may hold an image reference.
pub trait HoldsImage: Subject {
    /// Whether there is an image to judge, in CEL; none where there always is.
    const HAS_IMAGE: Option<&'static str>;
    /// The image as text in CEL; empty if absent.
    const IMAGE: &'static str;
    /// JSON Pointer of the image below the subject.
    const FIELD: &'static str;

    /// The image, if there is one to judge.
    fn image<'v, 'a: 'v>(view: &'v Self::View<'a>) -> Option<(&'v str, &'v Result<Reference<'v>, ReferenceError>)>;
}

impl HoldsImage for Containers {
    const HAS_IMAGE: Option<&'static str> = None;
    const IMAGE: &'static str = "(has(c.image) ? c.image : '')";
    const FIELD: &'static str = "/image";

    fn image<'v, 'a: 'v>(view: &'v ContainerView<'a>) -> Option<(&'v str, &'v Result<Reference<'v>, ReferenceError>)> {
        Some((&view.container.image, &view.image))
    }
}

impl HoldsImage for Volumes {
    const HAS_IMAGE: Option<&'static str> = Some("has(v.image)");
    const IMAGE: &'static str = "(has(v.image.reference) ? v.image.reference : '')";
    const FIELD: &'static str = "/image/reference";

    fn image<'v, 'a: 'v>(view: &'v VolumeView<'a>) -> Option<(&'v str, &'v Result<Reference<'v>, ReferenceError>)> {
        Some((&view.volume.image.as_ref()?.reference, view.image.as_ref()?))
    }
}

/// The values of sentences about images. All but `image` are for references with what they name.
fn image_value<S: HoldsImage>(name: &str) -> Option<Value<S>> {
    let image = S::IMAGE;
    match name {
        "image" => Some(Value::written(|view| S::image(view).map_or_else(String::new, |(text, _)| text.to_owned()), image)),
        // What stands before the tag.
        "untagged" => Some(Value::written(
            |view| S::image(view).map_or_else(String::new, |(text, _)| split_tag(text).0.to_owned()),
            &format!("{image}.substring(0, {image}.lastIndexOf(':'))"),
        )),
        "tag" => Some(Value::written(
            |view| S::image(view).map_or_else(String::new, |(text, _)| split_tag(text).1.to_owned()),
            &format!("{image}.substring({image}.lastIndexOf(':') + 1)"),
        )),
        // What stands before the digest.
        "undigested" => Some(Value::written(
            |view| {
                S::image(view)
                    .map_or_else(String::new, |(text, _)| text.split_once('@').map_or(text, |(name, _)| name).to_owned())
            },
            &format!("{image}.split('@')[0]"),
        )),
        _ => None,
    }
}

fn split_tag(image: &str) -> (&str, &str) {
    image.rsplit_once(':').unwrap_or((image, ""))
}

/// The update strategy of a Deployment, StatefulSet or DaemonSet.
pub struct Strategies;

impl Subject for Strategies {
    type View<'a> = &'a UpdateStrategy;
    const VARIABLE: &'static str = "object.spec";

    fn value(_: &str) -> Option<Value<Self>> {
        None
    }
}
