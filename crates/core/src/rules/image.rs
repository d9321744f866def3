//! What the two image rules share: the verdict on references that are none.

use std::sync::LazyLock;

use super::subject::{Case, ImageView, Images};
use super::text::Text;

/// CEL variable that lists every image of the object that is no valid reference. Its cost is the
/// grammar's, once per image; the rules then only look the image up.
pub(crate) const INVALID_IMAGES: &str = "variables.invalid_images";

/// CEL variable with the length that the images of the object may have, as [`PodSpec::longest_image`].
///
/// [`PodSpec::longest_image`]: crate::workload::PodSpec::longest_image
pub(crate) const LONGEST: &str = "variables.longest_image";

const WRITE: &str = "write REGISTRY/NAME:TAG@sha256:DIGEST";

/// A case over valid references only.
pub(crate) fn case(
    rust: impl Fn(&crate::image::Reference<'_>) -> bool + Send + Sync + 'static,
    cel: &str,
    message: &str,
    fix: &str,
) -> Case<Images> {
    any(move |view| matches!(&view.reference, Ok(reference) if rust(reference)), cel, message, fix)
}

/// The cases that come first in every rule about images: nothing can be said of the tag or digest of what is
/// no reference.
pub(crate) static INVALID: LazyLock<Vec<Case<Images>>> = LazyLock::new(|| {
    vec![
        any(|view| view.text.is_empty(), "i.image == ''", "image is missing", WRITE),
        any(
            |view| view.text.chars().count() > view.longest,
            &format!("i.image.size() > {LONGEST}"),
            "image {image} is longer than {longest} characters",
            WRITE,
        ),
        any(
            |view| view.text.chars().any(|character| !('!'..='~').contains(&character)),
            "!i.image.matches('^[!-~]*$')",
            "image {image} holds a character that no image reference may hold",
            WRITE,
        ),
        any(
            |view| view.reference.is_err(),
            &format!("i.image in {INVALID_IMAGES}"),
            "image {image} is no valid image reference",
            WRITE,
        ),
    ]
});

/// True for an image for which none of [`INVALID`] holds, in CEL.
pub(crate) fn is_valid_cel(image: &str) -> String {
    format!("{image}.size() <= {LONGEST} && {}", crate::image::cel_is_valid(image))
}

/// The same for an image `i` of the object, where [`INVALID_IMAGES`] is known.
pub(crate) fn is_known_to_be_valid_cel() -> String {
    format!("i.size() <= {LONGEST} && !(i in {INVALID_IMAGES})")
}

fn any(
    rust: impl for<'a> Fn(&ImageView<'a>) -> bool + Send + Sync + 'static,
    cel: &str,
    message: &str,
    fix: &str,
) -> Case<Images> {
    Case::<Images>::new(rust, cel, Text::new(message, Vec::new()), Text::new(fix, Vec::new()))
}
