//! Durations as people write them: `72h`, `90m`, `3d`.

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Reads a duration; a day has 24 hours.
///
/// # Errors
/// What to write instead.
pub(super) fn parse(text: &str) -> Result<SignedDuration, String> {
    let wrong = || "write a duration such as 72h, 90m or 3d".to_owned();
    let span: Span = text.parse().map_err(|_| wrong())?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("72h", 72 * 3600)]
    #[case("90m", 90 * 60)]
    #[case("3d", 3 * 86_400)]
    #[case("1d12h", 36 * 3600)]
    #[case("1h30m", 5400)]
    #[case("0s", 0)]
    #[case("-1h", -3600)]
    fn it_reads_what_people_write(#[case] text: &str, #[case] seconds: i64) {
        assert_eq!(parse(text), Ok(SignedDuration::from_secs(seconds)));
    }

    #[rstest::rstest]
    #[case("")]
    #[case("72")]
    #[case("h")]
    #[case("1 month")]
    #[case("forever")]
    #[case("99999999999999999999h")]
    fn it_refuses_what_is_none(#[case] text: &str) {
        assert_eq!(parse(text), Err("write a duration such as 72h, 90m or 3d".to_owned()));
    }
}
