//! What must not be repeated: tokens, and the parts of URLs that may be keys.

use std::cmp::Reverse;
use std::fmt;

use url::Url;

/// Shortest text that is taken for a secret and hidden wherever an answer repeats it.
const SHORTEST: usize = 6;

/// Longest text that is kept of what a service says.
const LONGEST_CHARS: usize = 300;

/// Texts that are hidden wherever a service or a library repeats them. Prints as its name only.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Nothing to hide yet.
    pub fn new() -> Secrets {
        Secrets::default()
    }

    /// Hides a text, unless it is too short to be a secret.
    pub fn add(&mut self, text: &str) {
        if text.len() >= SHORTEST && !self.0.iter().any(|known| known == text) {
            self.0.push(text.to_owned());
        }
        // The longest first, so that no part of a longer secret is left standing.
        self.0.sort_by_key(|text| Reverse(text.len()));
    }

    /// Hides everything of a URL but its host: user, password, path segments and query may be keys.
    pub fn add_url(&mut self, url: &Url) {
        self.add(url.username());
        self.add(url.password().unwrap_or_default());
        url.path_segments().into_iter().flatten().for_each(|segment| self.add(segment));
        url.query_pairs().for_each(|(_, value)| self.add(&value));
        self.add(url.query().unwrap_or_default());
    }

    /// The text without them, on one line and not longer than a log line should be.
    pub fn hide(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for secret in &self.0 {
            hidden = hidden.replace(secret.as_str(), "…");
        }
        hidden.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST_CHARS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_urls_are_hidden() {
        let mut secrets = Secrets::new();
        secrets.add_url(
            &Url::parse("https://user7:passw0rd@hooks.example.org/services/T0001/abcdefgh?key=1234567").unwrap(),
        );
        secrets.add("xoxb-1-token");
        let text = secrets.hide("user7@host said:\n no abcdefgh for 1234567 xoxb-1-token services");
        assert_eq!(text, "user7@host said: no … for … … …");
        assert_eq!(format!("{secrets:?}"), "Secrets");
    }
}
