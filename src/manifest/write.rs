//! Objects -> YAML, for people and for kubectl.

/// Writes a value as one YAML document; long expressions stay on one line, as they were.
///
/// # Errors
/// The value cannot be written as YAML.
pub fn to_yaml(value: &serde_json::Value) -> anyhow::Result<String> {
    let mut text = serde_saphyr::to_string(value)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
