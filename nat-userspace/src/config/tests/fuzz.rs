//! Mutated configurations: each is read, and then holds what is promised, or is refused with reasons.

use proptest::prelude::*;
use proptest::sample::Index;

use super::promises::check_promises;
use super::{EVERYTHING, SAMPLE, described, ended, filtered, placed, with};
use crate::config::toml::read_alike;
use crate::config::{ConfigErrors, parse};

#[derive(Debug, Clone)]
enum Mutation {
    DeleteToken(Index),
    DuplicateToken(Index),
    SwapTokens(Index, Index),
    ReplaceToken(Index, &'static str),
    DeleteLine(Index),
    DuplicateLine(Index),
    ReplaceCharacter(Index, char),
    Truncate(Index),
}

const WORDS: [&str; 79] = [
    "0",
    "-1",
    "99999999999",
    "1.5",
    "true",
    "\"\"",
    "\"x\"",
    "[]",
    "[[",
    "]]",
    "{}",
    "{ a = 1 }",
    "=",
    "\"10.20.1.0/24\"",
    "\"0.0.0.0/0\"",
    "\"10.20.1.255\"",
    "\"nat-gateway:\"",
    "\"\u{1b}[2J\"",
    "[vpc]",
    "[[node]]",
    "endpoint",
    "1979-05-27",
    "\"\"\"a\nb\"\"\"",
    "vpc.subnet.name",
    "profile",
    "\"rfc\"",
    "\"aws\"",
    "\"address-dependent\"",
    "\"198.51.100.11\"",
    "\"10.40.2.101:65535\"",
    "\"1-65535\"",
    "\"8005\"",
    "\"udp\"",
    "\"10.0.0.0/12\"",
    "\"10.40.2.0/28\"",
    "ports",
    "\"prefix-list:partners\"",
    "\"security-group:web\"",
    "\"security-group:\"",
    "\"instance:proxy\"",
    "\"instance:web\"",
    "[\"web\"]",
    "\"default\"",
    "\"02:00:00:00:00:0a\"",
    "\"deny\"",
    "\"icmp\"",
    "32766",
    "255",
    "[[vpc]]",
    "[[vpc.security_group]]",
    "false",
    "\"a1-1\"",
    "\"a2-1\"",
    "\"spread\"",
    "\"private-b\"",
    "[[vpc.instance]]",
    "2",
    "\"required\"",
    "\"i-0123456789abcdef0\"",
    "\"web.example.net\"",
    "{ Name = \"x\" }",
    "[vpc.instance.tags]",
    "dns = false",
    "private_domain = \"x.y\"",
    "[\"192.0.2.53\"]",
    "\"in-addr.arpa\"",
    "\"gateway\"",
    "\"interface\"",
    "\"shared/db\"",
    "\"main/db\"",
    "\"endpoint:storage\"",
    "\"endpoint:db\"",
    "\"prefix-list:other\"",
    "\"10.40.2.50\"",
    "\"private-a\"",
    "[[vpc.endpoint]]",
    "[[vpc.proxy]]",
    "8080",
    "\"http\"",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Mutation::DeleteToken),
        index().prop_map(Mutation::DuplicateToken),
        (index(), index()).prop_map(|(a, b)| Mutation::SwapTokens(a, b)),
        (index(), proptest::sample::select(&WORDS[..]))
            .prop_map(|(at, word)| Mutation::ReplaceToken(at, word)),
        index().prop_map(Mutation::DeleteLine),
        index().prop_map(Mutation::DuplicateLine),
        (index(), any::<char>()).prop_map(|(at, new)| Mutation::ReplaceCharacter(at, new)),
        index().prop_map(Mutation::Truncate),
    ]
}

fn apply(text: &str, mutation: &Mutation) -> String {
    let mut tokens: Vec<String> = text
        .split_inclusive([' ', '\n', ','])
        .map(str::to_owned)
        .collect();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let mut characters: Vec<char> = text.chars().collect();
    if tokens.is_empty() {
        return "\n".to_owned();
    }
    match mutation {
        Mutation::DeleteToken(at) => {
            tokens.remove(at.index(tokens.len()));
        }
        Mutation::DuplicateToken(at) => {
            let at = at.index(tokens.len());
            tokens.insert(at, tokens[at].clone());
        }
        Mutation::SwapTokens(a, b) => {
            let (a, b) = (a.index(tokens.len()), b.index(tokens.len()));
            tokens.swap(a, b);
        }
        Mutation::ReplaceToken(at, word) => {
            let at = at.index(tokens.len());
            let end = if tokens[at].ends_with('\n') {
                "\n"
            } else {
                " "
            };
            tokens[at] = format!("{word}{end}");
        }
        Mutation::DeleteLine(at) => {
            lines.remove(at.index(lines.len()));
            return lines.concat();
        }
        Mutation::DuplicateLine(at) => {
            let at = at.index(lines.len());
            lines.insert(at, lines[at].clone());
            return lines.concat();
        }
        Mutation::ReplaceCharacter(at, new) => {
            let at = at.index(characters.len());
            characters[at] = *new;
            return characters.into_iter().collect();
        }
        Mutation::Truncate(at) => {
            characters.truncate(at.index(characters.len()));
            return characters.into_iter().collect();
        }
    }
    tokens.concat()
}

fn check_errors(text: &str, errors: &ConfigErrors) -> Result<(), TestCaseError> {
    let lines = text.split('\n').count();
    prop_assert!(!errors.0.is_empty());
    prop_assert!(errors.0.is_sorted_by_key(|error| error.line));
    for error in &errors.0 {
        prop_assert!((1..=lines).contains(&error.line), "{error}");
        prop_assert!(error.column >= 1, "{error}");
        let syntax = error.message.starts_with("TOML syntax: ");
        prop_assert!(
            !error.key.is_empty() || (syntax && errors.0.len() == 1),
            "{error}"
        );
        prop_assert!(
            !error.message.is_empty() && !error.remedy.is_empty(),
            "{error}"
        );
        let shown = error.to_string();
        prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
    Ok(())
}

fn check(text: &str) -> Result<(), TestCaseError> {
    if let Err(difference) = read_alike(text) {
        return Err(TestCaseError::fail(difference));
    }
    match parse("nat.toml", text) {
        Ok(config) => check_promises(&config),
        Err(errors) => check_errors(text, &errors),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_sample_is_read_or_refused_with_reasons(
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let text = mutations.iter().fold(SAMPLE.to_owned(), |text, mutation| apply(&text, mutation));
        check(&text)?;
    }

    #[test]
    fn mutated_settings_are_read_or_refused_with_reasons(
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let settings = mutations.iter().fold(EVERYTHING.to_owned(), |text, mutation| apply(&text, mutation));
        check(&with(&settings))?;
    }

    #[test]
    fn mutated_filters_are_read_or_refused_with_reasons(
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let text = mutations.iter().fold(filtered(&[]), |text, mutation| apply(&text, mutation));
        check(&text)?;
    }

    #[test]
    fn mutated_placement_is_read_or_refused_with_reasons(
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let text = mutations.iter().fold(placed(&[]), |text, mutation| apply(&text, mutation));
        check(&text)?;
    }

    #[test]
    fn mutated_metadata_is_read_or_refused_with_reasons(
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let text = mutations.iter().fold(described(&[]), |text, mutation| apply(&text, mutation));
        check(&text)?;
    }

    #[test]
    fn mutated_endpoints_are_read_or_refused_with_reasons(
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let text = mutations.iter().fold(ended(&[]), |text, mutation| apply(&text, mutation));
        check(&text)?;
    }

    #[test]
    fn any_text_is_read_or_refused_with_reasons(text in "(\\PC|[\\[\\]={}\"'.,#\n\r\t a-z0-9]){0,80}") {
        check(&text)?;
    }
}
