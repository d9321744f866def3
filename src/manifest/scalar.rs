//! What a YAML scalar means to kubectl: `resolve` of go-yaml v2, the library under sigs.k8s.io/yaml.

/// What a scalar turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    /// The text as it stands.
    Text,
    /// A text other than what stands there (`!!binary`).
    Decoded(String),
    /// The key `<<`.
    Merge,
}

impl Scalar {
    fn tag(&self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool(_) => "!!bool",
            Self::Integer(_) | Self::Unsigned(_) => "!!int",
            Self::Float(_) => "!!float",
            Self::Text | Self::Decoded(_) => "!!str",
            Self::Merge => "!!merge",
        }
    }
}

/// Reads a plain scalar without a tag.
pub(super) fn resolve_plain(text: &str) -> Scalar {
    match text.as_bytes().first() {
        None => Scalar::Null,
        // A time is no number, so it stays the string that kubectl makes of it too.
        Some(b'0'..=b'9' | b'+' | b'-') => word(text).or_else(|| number(text)).unwrap_or(Scalar::Text),
        Some(b'.') => word(text).or_else(|| fraction(text)).unwrap_or(Scalar::Text),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' | b'<') => {
            word(text).unwrap_or(Scalar::Text)
        }
        Some(_) => Scalar::Text,
    }
}

/// Reads a scalar with an explicit tag in its short form (`!!int`); says what does not fit.
pub(super) fn resolve_tagged(tag: &str, text: &str) -> Result<Scalar, String> {
    let found = match tag {
        "!!binary" => {
            return base64(text).map(Scalar::Decoded).ok_or_else(|| "!!binary is not valid base64".to_owned());
        }
        "!!merge" if text == "<<" => return Ok(Scalar::Merge),
        "!!timestamp" if is_timestamp(text) => return Ok(Scalar::Text),
        "!!bool" | "!!int" | "!!float" | "!!null" | "!!timestamp" => resolve_plain(text),
        // `!!str`, and tags of other kinds, which say nothing to kubectl.
        _ => return Ok(Scalar::Text),
    };
    #[allow(clippy::cast_precision_loss)] // as go-yaml does
    match found {
        found if found.tag() == tag => Ok(found),
        Scalar::Integer(integer) if tag == "!!float" => Ok(Scalar::Float(integer as f64)),
        found => Err(format!("cannot read {} as {tag}: it is {}", super::error::quoted(text), found.tag())),
    }
}

fn word(text: &str) -> Option<Scalar> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        "<<" => Scalar::Merge,
        _ => return None,
    })
}

fn number(text: &str) -> Option<Scalar> {
    let without;
    let plain = if text.contains('_') {
        without = text.replace('_', "");
        without.as_str()
    } else {
        text
    };
    let (negative, digits, signed) = match plain.as_bytes().first()? {
        b'-' => (true, plain.get(1..)?, true),
        b'+' => (false, plain.get(1..)?, true),
        _ => (false, plain, false),
    };
    if let Some(magnitude) = unsigned(digits) {
        if negative {
            if let Ok(integer) = i64::try_from(-i128::from(magnitude)) {
                return Some(Scalar::Integer(integer));
            }
        } else if let Ok(integer) = i64::try_from(magnitude) {
            return Some(Scalar::Integer(integer));
        } else if !signed {
            return Some(Scalar::Unsigned(magnitude));
        }
    }
    if is_yaml_float(digits) {
        return float(plain);
    }
    // What is left of go-yaml's own reading of binary numbers: it lets a second sign through.
    let (rest, sign) = if let Some(rest) = plain.strip_prefix("0b") {
        (rest, 1)
    } else if let Some(rest) = plain.strip_prefix("-0b") {
        if rest.starts_with(['+', '-']) {
            return None;
        }
        (rest, -1)
    } else {
        return None;
    };
    i64::from_str_radix(rest, 2).ok().and_then(|value| value.checked_mul(sign)).map(Scalar::Integer)
}

/// Digits with Go's prefixes; a leading zero is octal.
fn unsigned(digits: &str) -> Option<u64> {
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (digits.get(2..)?, 16),
        [b'0', b'o' | b'O', ..] => (digits.get(2..)?, 8),
        [b'0', b'b' | b'B', ..] => (digits.get(2..)?, 2),
        [b'0', _, ..] => (digits.get(1..)?, 8),
        _ => (digits, 10),
    };
    // from_str_radix takes a sign of its own, which has no place here.
    if digits.starts_with(['+', '-']) { None } else { u64::from_str_radix(digits, radix).ok() }
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_yaml_float(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let mut rest = text.get(whole..).unwrap_or_default();
    if let Some(after) = rest.strip_prefix('.') {
        let fraction = digits(after);
        if whole + fraction == 0 {
            return false;
        }
        rest = after.get(fraction..).unwrap_or_default();
    } else if whole == 0 {
        return false;
    }
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else {
        return rest.is_empty();
    };
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}

/// A number with a point in front: Go reads it as its own, with underscores only between digits.
fn fraction(text: &str) -> Option<Scalar> {
    if !text.contains('_') {
        return float(text);
    }
    let bytes = text.as_bytes();
    let digit = |index: Option<usize>| index.and_then(|index| bytes.get(index)).is_some_and(u8::is_ascii_digit);
    let between = |index: usize| digit(index.checked_sub(1)) && digit(Some(index + 1));
    let valid = (0..bytes.len()).all(|index| bytes.get(index) != Some(&b'_') || between(index));
    if valid { float(&text.replace('_', "")) } else { None }
}

fn float(text: &str) -> Option<Scalar> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    // What does not fit is an error to Go's reader and so stays a string.
    if is_yaml_float(unsigned) {
        text.parse().ok().filter(|value: &f64| value.is_finite()).map(Scalar::Float)
    } else {
        None
    }
}

/// Whether it has the shape of a time; only asked for what says `!!timestamp`, and kubectl keeps it as a string.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 8 && bytes.iter().take(4).all(u8::is_ascii_digit) && bytes.get(4) == Some(&b'-')
}

/// Standard base64 with padding; line breaks are passed over, as Go does.
fn base64(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut count, mut padding) = (0_u32, 0, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'\r' | b'\n' => continue,
            b'=' if count >= 2 => {
                padding += 1;
                count += 1;
                group <<= 6;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        group = group << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            bytes.extend_from_slice(group.to_be_bytes().get(1..)?);
            (group, count) = (0, 0);
        }
    }
    match (count, padding) {
        (0, 0) => {}
        (4, 1 | 2) => bytes.extend_from_slice(group.to_be_bytes().get(1..4 - padding)?),
        _ => return None,
    }
    // Bytes that are no text become U+FFFD, each of them, in the JSON that kubectl sends.
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Some(text)
}

/// A key that is a fraction, as sigs.k8s.io/yaml writes it: Go's `FormatFloat(f, 'g', -1, 32)`.
pub(super) fn float_key(value: f64) -> String {
    #[allow(clippy::cast_possible_truncation)] // 32 bits, as there
    let value = value as f32;
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}
