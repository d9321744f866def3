//! The one sentence that the API server shows, composed alike in Rust and in CEL.

use crate::evaluate::Finding;

/// The most bytes of a message: the API server drops one over 5 KiB whole. All of it is ASCII.
const LONGEST: usize = 2048;

/// The message that the API server gives for these findings.
pub fn message(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(line).collect();
    let noun = if lines.len() == 1 { "finding" } else { "findings" };
    let text = format!("{} {noun}: {}", lines.len(), lines.join(" | "));
    if text.len() > LONGEST { format!("{}...", &text[..LONGEST - 3]) } else { text }
}

/// One finding as the message shows it.
pub fn line(finding: &Finding) -> String {
    format!("[{}] {}{}; {}", finding.rule, finding.about.prefix(), finding.message, finding.fix)
}

/// [`message`] over `variables.findings`, in CEL.
pub(crate) fn message_cel() -> String {
    let text = "string(variables.findings.size()) + (variables.findings.size() == 1 ? ' finding: ' : ' findings: ') + \
                variables.findings.join(' | ')";
    format!("[{text}].map(x, x.size() > {LONGEST} ? x.substring(0, {}) + '...' : x)[0]", LONGEST - 3)
}

/// What is said where the message cannot be made; it never should be needed.
pub(crate) const STATIC_MESSAGE: &str =
    "the workload is not immutable; immutable check FILE tells every finding and what to write";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{About, Certainty};
    use crate::rules::RuleId;

    #[test]
    fn a_message_has_two_kibibytes_at_most_and_says_how_many_findings_there_are() {
        let finding = |number: usize| Finding {
            rule: RuleId::ImageTag,
            about: About::Volume(format!("volume-{number}-{}", "é".repeat(200))),
            pointer: String::new(),
            message: "image nginx:latest has the mutable tag latest".to_owned(),
            fix: "write nginx:TAG@sha256:DIGEST".to_owned(),
            certainty: Certainty::Broken,
        };
        for count in [1, 2, 10, 1000] {
            let message = message(&(0..count).map(finding).collect::<Vec<_>>());
            assert!(message.len() <= LONGEST && message.is_ascii() && !message.contains('\n'), "{message}");
            assert!(message.starts_with(&format!("{count} finding")), "{message}");
            assert_eq!(message.ends_with("..."), count >= 1000 || message.len() == LONGEST, "{message}");
        }
    }
}
