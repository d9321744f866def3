//! Marks: what the CEL of rules reads again and again, written as characters that the compiler replaces.
//!
//! The findings read a field where it stands, so that the API server can check its type; the match condition looks
//! it up once and reads it under a short name. A mark is of Unicode's private use area: no text of a user holds one,
//! since literals are escaped to ASCII and patterns of tags are ASCII.

/// The image of a subject [`Images`](super::Images).
pub(crate) const IMAGE: &str = "\u{E000}";
/// The security context of a container `c`, where [`HAS_SECURITY_CONTEXT`] has been asked.
pub(crate) const SECURITY_CONTEXT: &str = "\u{E001}";
/// That the container has a security context, and whatever follows.
pub(crate) const HAS_SECURITY_CONTEXT: &str = "\u{E002}";
/// The resources of a container `c`, where [`HAS_RESOURCES`] has been asked.
pub(crate) const RESOURCES: &str = "\u{E003}";
/// That the container has resources, and whatever follows.
pub(crate) const HAS_RESOURCES: &str = "\u{E004}";

/// The fields of a container that have marks: the path, that it is there, the field, and the name it is bound to.
const FIELDS: [(&str, &str, &str, &str); 2] =
    [(SECURITY_CONTEXT, HAS_SECURITY_CONTEXT, "securityContext", "s"), (RESOURCES, HAS_RESOURCES, "resources", "r")];

/// CEL that reads what is marked where it stands.
pub(crate) fn where_it_stands(cel: &str) -> String {
    FIELDS.iter().fold(cel.replace(IMAGE, "i.image"), |cel, (path, presence, field, _)| {
        cel.replace(presence, &format!("has(c.{field}) && ")).replace(path, &format!("c.{field}"))
    })
}

/// A condition on an image that is known as `i`.
pub(crate) fn of_image(cel: &str) -> String {
    cel.replace(IMAGE, "i")
}

/// A condition on a container that looks each marked field up once. An absent one is empty, and has none of its
/// fields either.
pub(crate) fn looked_up_once(cel: &str) -> String {
    FIELDS.iter().fold(cel.to_owned(), |cel, (path, presence, field, name)| {
        if !cel.contains(path) {
            return cel;
        }
        let body = cel.replace(presence, "").replace(path, name);
        format!("[has(c.{field}) ? dyn(c.{field}) : dyn({{}})].all({name}, {body})")
    })
}
