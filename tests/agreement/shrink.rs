//! Makes an object that shows a difference small.

use anyhow::Result;
use serde_json::Value;

/// The most objects that are tried: a small object is wanted soon, not the smallest at last.
const TRIES: usize = 1500;

/// A smaller object for which `differs` still holds.
///
/// # Errors
/// When `differs` cannot tell.
pub(crate) async fn shrink(object: &Value, mut differs: impl AsyncFnMut(&Value) -> Result<bool>) -> Result<Value> {
    let mut smallest = object.clone();
    let mut tries = 0;
    let mut from = 0;
    loop {
        let mut shrunk = false;
        let places = places(&smallest);
        for (number, place) in places.iter().enumerate().skip(from) {
            for candidate in smaller(&smallest, place) {
                tries += 1;
                if tries > TRIES {
                    return Ok(smallest);
                }
                if differs(&candidate).await? {
                    smallest = candidate;
                    shrunk = true;
                    break;
                }
            }
            if shrunk {
                // What stands before was tried a moment ago.
                from = number;
                break;
            }
        }
        if !shrunk {
            if from == 0 {
                return Ok(smallest);
            }
            from = 0;
        }
    }
}

/// The pointers of everything in it, what holds much before what it holds.
fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, place: &str, found: &mut Vec<String>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, child)| (escaped(key), child)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
            _ => Vec::new(),
        };
        for (key, child) in children {
            let place = format!("{place}/{key}");
            found.push(place.clone());
            walk(child, &place, found);
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The object without what is at a place, or with less of it.
fn smaller(object: &Value, place: &str) -> Vec<Value> {
    let mut candidates = Vec::new();
    let mut without = object.clone();
    if remove(&mut without, place).is_some() {
        // An update whose two sides lose the same stays the same update.
        if let Some(rest) = place.strip_prefix("/new/") {
            let mut neither = without.clone();
            if remove(&mut neither, &format!("/old/{rest}")).is_some() {
                candidates.push(neither);
            }
        }
        candidates.push(without);
    }
    if let Some(Value::String(text)) = object.pointer(place) {
        let characters: Vec<char> = text.chars().collect();
        let half = characters.len() / 2;
        let shorter = [&characters[..half], &characters[half..], &characters[..characters.len().saturating_sub(1)]];
        for part in shorter {
            if part.is_empty() || part.len() == characters.len() {
                continue;
            }
            let mut candidate = object.clone();
            if let Some(value) = candidate.pointer_mut(place) {
                *value = Value::String(part.iter().collect());
                candidates.push(candidate);
            }
        }
    }
    candidates
}

/// Removes what is at a place.
pub(crate) fn remove(object: &mut Value, place: &str) -> Option<Value> {
    let (parent, key) = place.rsplit_once('/')?;
    match object.pointer_mut(parent)? {
        Value::Object(map) => map.remove(&key.replace("~1", "/").replace("~0", "~")),
        Value::Array(items) => {
            let index: usize = key.parse().ok()?;
            (index < items.len()).then(|| items.remove(index))
        }
        _ => None,
    }
}
