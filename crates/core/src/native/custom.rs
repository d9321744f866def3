//! Custom resources in CEL. The API server neither validates what they hold nor fills anything in, so it is brought
//! into the form that built-in kinds have: what is null is absent, what has a name has one, and a volume without a
//! source is an `emptyDir`.

use crate::rules::{cel_printable, quote};
use crate::workload::ContainerType;

use super::shape::optional_list;

/// The map at a JSON Pointer below an object, or another expression where there is none.
pub(crate) fn map_at(object: &str, pointer: &str, otherwise: &str) -> String {
    let mut path = format!("dyn({object})");
    let mut present = Vec::new();
    for segment in pointer.split('/').skip(1) {
        path = format!("{path}.{segment}");
        // A field of what is no map cannot even be asked for.
        present.push(format!("has({path}) && type({path}) == map"));
    }
    format!("({} ? {path} : {otherwise})", present.join(" && "))
}

/// A pod spec, but for its lists.
pub(crate) fn pod_spec(object: &str, pointer: &str) -> String {
    let spec = map_at(object, &format!("{pointer}/spec"), "dyn({})");
    format!(
        "{spec}.transformMap(k, f, f != null, k in ['os', 'securityContext', 'resources'] ? dyn({}) : f)",
        without_nulls("f")
    )
}

/// The containers of all lists; their names are made printable and say the list, since those of two lists may meet.
pub(crate) fn containers(spec: &str, lists: &[ContainerType]) -> String {
    let security = "f.transformMap(s, g, g != null, s == 'capabilities' ? dyn(g.transformMap(t, h, h != null, h)) : g)";
    // What rules read of a mount.
    let read_only = "has(m.readOnly) && m.readOnly == true";
    let mounts = format!("f.map(m, {{'name': dyn({}), 'readOnly': dyn({read_only})}})", name("m"));
    let value = format!(
        "k == 'securityContext' ? dyn({security}) : k == 'resources' ? dyn({}) : k == 'volumeMounts' ? dyn({mounts}) : f",
        without_nulls("f")
    );
    let lists: Vec<String> = lists
        .iter()
        .map(|list| {
            let name = format!("{} + {}", quote(&prefix(*list)), cel_printable("string(f)"));
            format!(
                "{}.map(c, {}).map(c, c.transformMap(k, f, f != null, k == 'name' ? dyn({name}) : {value}))",
                optional_list(spec, list.field()),
                named("c"),
            )
        })
        .collect();
    lists.join(" + ")
}

/// The volumes.
pub(crate) fn volumes(spec: &str) -> String {
    format!(
        "{}.map(v, {}).map(v, v.all(k, k == 'name' || v[k] == null) ? dyn({{'name': dyn(string(v.name)), 'emptyDir': dyn({{}})}}) : \
         dyn(v.transformMap(k, f, f != null, k == 'name' ? dyn(string(f)) : k in ['emptyDir', 'image'] ? dyn({}) : f)))",
        optional_list(spec, "volumes"),
        named("v"),
        without_nulls("f")
    )
}

/// What the names of a list's containers begin with here.
pub(crate) fn prefix(list: ContainerType) -> String {
    format!("{} ", list.name())
}

/// The name that Rust reads: none is empty.
fn name(owner: &str) -> String {
    format!("(has({owner}.name) && {owner}.name != null ? string({owner}.name) : '')")
}

fn without_nulls(map: &str) -> String {
    format!("{map}.transformMap(t, h, h != null, h)")
}

/// A map with a name, whether it had one or not.
fn named(map: &str) -> String {
    format!(
        "has({map}.name) && {map}.name != null ? dyn({map}) : \
         dyn(([[dyn('name'), dyn('')]] + {map}.transformList(k, f, k != 'name', [dyn(k), dyn(f)]))\
         .transformMapEntry(i, e, {{e[0]: e[1]}}))"
    )
}
