//! Wording shared by error messages: quoting, lists of names, did-you-mean.

const MAX_QUOTED: usize = 64;
const MAX_LISTED: usize = 20;

/// `text` in quotes, escaped so that a file cannot write to the terminal, and not too long.
pub fn quoted(text: &str) -> String {
    if text.chars().count() <= MAX_QUOTED {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MAX_QUOTED).collect();
    format!("{start:?}...")
}

/// A key as it is written in TOML.
pub fn key(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !text.is_empty() && text.len() <= MAX_QUOTED && text.chars().all(bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Names in quotes, separated by commas; the tail of a long list is counted.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    some_of(names, quoted)
}

/// As [`listed`], of anything.
pub fn some_of<T>(items: impl IntoIterator<Item = T>, show: impl Fn(T) -> String) -> String {
    let mut items = items.into_iter();
    let mut list: Vec<String> = items.by_ref().take(MAX_LISTED).map(show).collect();
    let more = items.count();
    if more > 0 {
        list.push(format!("and {more} more"));
    }
    list.join(", ")
}

/// The candidate one or two slips of the fingers away from `word`, if there is one.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_QUOTED {
        return None;
    }
    let allowed = if word.len() < 5 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours; case is ignored.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    // distance[i][j] is that of the first i characters of a and the first j of b.
    let mut distance = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                distance[i][j] = i + j;
                continue;
            }
            let substituted = distance[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substituted
                .min(distance[i - 1][j] + 1)
                .min(distance[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(distance[i - 2][j - 2] + 1);
            }
            distance[i][j] = best;
        }
    }
    distance[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_within_reach() {
        assert_eq!(
            closest("intreface", ["interface", "instance"]),
            Some("interface")
        );
        assert_eq!(closest("Cidr", ["cidr", "cidrs"]), Some("cidr"));
        assert_eq!(closest("zome", ["name", "zone"]), Some("zone"));
        assert_eq!(closest("colour", ["cidr", "name"]), None);
        assert_eq!(closest("", ["name"]), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
        assert_eq!(edit_distance("vcp", "VPC"), 1);
    }

    #[test]
    fn control_characters_are_escaped_and_long_text_is_cut() {
        assert_eq!(quoted("a\u{1b}[2J\n"), r#""a\u{1b}[2J\n""#);
        assert!(quoted(&"x".repeat(1000)).len() < 80);
        assert_eq!(key("max_sessions"), "max_sessions");
        assert_eq!(key("a b"), "\"a b\"");
    }

    #[test]
    fn long_lists_are_counted() {
        let names: Vec<String> = (0..25).map(|n| n.to_string()).collect();
        assert!(listed(names.iter().map(String::as_str)).ends_with("\"19\", and 5 more"));
    }
}
