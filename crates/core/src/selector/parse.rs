//! Label selectors as they are written for kubectl: `app=web,tier!=db,env in (a,b),!legacy`.

use super::{LabelSelector, Operator, Requirement};

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// One of `= == != ! ( ) , < >`.
    Sign(&'a str),
}

impl LabelSelector {
    /// Reads what kubectl takes for `-l`.
    ///
    /// # Errors
    /// What is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let mut selector = Self::default();
        if parser.peek().is_none() {
            return Ok(selector);
        }
        loop {
            selector.match_expressions.push(parser.requirement()?);
            match parser.next() {
                None => break,
                Some(Token::Sign(",")) => {}
                Some(_) => return Err(format!("{text:?} is no label selector; write a comma between requirements")),
            }
        }
        match selector.problems().into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(selector),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        let rest = self.rest.trim_start();
        let first = rest.chars().next()?;
        if is_sign(first) {
            let long = ["==", "!="].into_iter().find(|sign| rest.starts_with(sign));
            return Some(Token::Sign(&rest[..long.map_or(1, str::len)]));
        }
        let end = rest.find(|character: char| is_sign(character) || character.is_whitespace()).unwrap_or(rest.len());
        Some(Token::Word(&rest[..end]))
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek()?;
        let (Token::Word(text) | Token::Sign(text)) = token;
        self.rest = &self.rest.trim_start()[text.len()..];
        Some(token)
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let is_absent = self.peek() == Some(Token::Sign("!"));
        if is_absent {
            self.next();
        }
        let Some(Token::Word(key)) = self.next() else {
            return Err("a label is missing; write requirements such as app=web, tier in (a,b) or !legacy".to_owned());
        };
        let with = |operator, values| Requirement { key: key.to_owned(), operator, values };
        if is_absent {
            return Ok(with(Operator::DoesNotExist, Vec::new()));
        }
        match self.peek() {
            None | Some(Token::Sign(",")) => Ok(with(Operator::Exists, Vec::new())),
            Some(Token::Sign(sign @ ("=" | "==" | "!="))) => {
                self.next();
                let operator = if sign == "!=" { Operator::NotIn } else { Operator::In };
                Ok(with(operator, vec![self.value()]))
            }
            Some(Token::Word(word @ ("in" | "notin"))) => {
                self.next();
                let operator = if word == "in" { Operator::In } else { Operator::NotIn };
                Ok(with(operator, self.values(key)?))
            }
            Some(Token::Word(other) | Token::Sign(other)) => Err(format!(
                "{other:?} behind label {key} is not known; write =, !=, in (VALUE,…) or notin (VALUE,…) there"
            )),
        }
    }

    /// A value; an empty one where none is written.
    fn value(&mut self) -> String {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next();
                word.to_owned()
            }
            _ => String::new(),
        }
    }

    fn values(&mut self, key: &str) -> Result<Vec<String>, String> {
        let wrong = || format!("the values of label {key} are not complete; write them as (VALUE,VALUE)");
        if self.next() != Some(Token::Sign("(")) {
            return Err(wrong());
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value());
            match self.next() {
                Some(Token::Sign(",")) => {}
                Some(Token::Sign(")")) => return Ok(values),
                _ => return Err(wrong()),
            }
        }
    }
}

fn is_sign(character: char) -> bool {
    matches!(character, '=' | '!' | '(' | ')' | ',' | '<' | '>')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn matches(selector: &str, labels: &str) -> bool {
        let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
        let labels: BTreeMap<String, String> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        LabelSelector::parse(selector).expect("a selector").matches(&labels)
    }

    #[rstest::rstest]
    #[case("", "", "")]
    #[case("app=web", "app=web,tier=a", "app=db")]
    #[case("app==web", "app=web", "tier=web")]
    #[case("app = web , tier != db", "app=web", "app=web,tier=db")]
    #[case("env in (a, b)", "env=b", "env=c")]
    #[case("env notin (a,b),env", "env=c", "env=a")]
    #[case("!legacy", "app=web", "legacy=")]
    #[case("legacy", "legacy=", "app=web")]
    #[case("in in (in)", "in=in", "in=notin")]
    #[case("app=", "app=", "app=web")]
    #[case("example.com/app=web", "example.com/app=web", "app=web")]
    #[case("app=web,app!=web", "", "app=web")]
    fn it_reads_what_kubectl_reads(#[case] selector: &str, #[case] good: &str, #[case] bad: &str) {
        // What contradicts itself matches nothing, and what asks for nothing matches everything.
        let matches_anything = !selector.ends_with("app!=web");
        assert_eq!(matches(selector, good), matches_anything, "{selector} {good}");
        assert_eq!(matches(selector, bad), selector.is_empty(), "{selector} {bad}");
    }

    #[rstest::rstest]
    #[case(",", "a label is missing")]
    #[case("app=web,", "a label is missing")]
    #[case("=web", "a label is missing")]
    #[case("app web", "behind label app")]
    #[case("app>5", "behind label app")]
    #[case("app in web", "as (VALUE,VALUE)")]
    #[case("app in (web", "as (VALUE,VALUE)")]
    #[case("app=web tier=a", "a comma between")]
    #[case("app=a/b", "label value")]
    #[case("a_-=b", "label key")]
    fn a_bad_one_says_what_to_write(#[case] selector: &str, #[case] expected: &str) {
        let error = LabelSelector::parse(selector).expect_err("a bad selector");
        assert!(error.contains(expected), "{error}");
    }
}
