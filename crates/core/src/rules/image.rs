//! What the two image rules share: the verdict on references that are none.

use super::subject::{Case, HoldsImage};
use super::text::Text;

/// CEL variable that lists every image of the object that is no valid reference. Its cost is the
/// grammar's, once per image; the rules then only look the image up.
pub(crate) const INVALID_IMAGES: &str = "variables.invalid_images";

/// The longest image that is looked at: registry, repository of 255, tag of 128 and digest fit in well.
pub(crate) const LONGEST_IMAGE: usize = 1024;

/// A case over valid references only.
pub(crate) fn case<S: HoldsImage>(
    rust: impl Fn(&str, &crate::image::Reference<'_>) -> bool + Send + Sync + 'static,
    cel: &str,
    message: &str,
    fix: &str,
) -> Case<S> {
    Case::new(
        move |view| {
            matches!(S::image(view), Some((text, Ok(reference))) if text.len() <= LONGEST_IMAGE && rust(text, reference))
        },
        guarded::<S>(cel),
        Text::new(message, Vec::new()),
        Text::new(fix, Vec::new()),
    )
    .at(S::FIELD)
}

/// The cases that come first: nothing can be said of the tag or digest of what is no reference.
pub(crate) fn invalid<S: HoldsImage>() -> Vec<Case<S>> {
    let write = "write REGISTRY/NAME:TAG@sha256:DIGEST";
    let image = S::IMAGE;
    let missing = Case::new(
        |view| matches!(S::image(view), Some(("", _))),
        guarded::<S>(&format!("{image} == ''")),
        Text::new("image is missing", Vec::new()),
        Text::new(write, Vec::new()),
    );
    // The API server charges by length; what no registry would take is not worth its budget.
    let too_long = Case::new(
        |view| matches!(S::image(view), Some((text, _)) if text.chars().count() > LONGEST_IMAGE),
        guarded::<S>(&format!("{image}.size() > {LONGEST_IMAGE}")),
        Text::new(&format!("image {{image}} is longer than {LONGEST_IMAGE} characters"), Vec::new()),
        Text::new(write, Vec::new()),
    );
    let foreign = Case::new(
        |view| matches!(S::image(view), Some((text, _)) if text.chars().any(|character| !('!'..='~').contains(&character))),
        guarded::<S>(&format!("!{image}.matches('^[!-~]*$')")),
        Text::new("image {image} holds a character that no image reference may hold", Vec::new()),
        Text::new(write, Vec::new()),
    );
    let other = Case::new(
        |view| matches!(S::image(view), Some((_, Err(_)))),
        guarded::<S>(&format!("{image} in {INVALID_IMAGES}")),
        Text::new("image {image} is no valid image reference", Vec::new()),
        Text::new(write, Vec::new()),
    );
    [missing, too_long, foreign, other].into_iter().map(|case| case.at(S::FIELD)).collect()
}

fn guarded<S: HoldsImage>(cel: &str) -> String {
    match S::HAS_IMAGE {
        Some(guard) => format!("{guard} && ({cel})"),
        None => cel.to_owned(),
    }
}
