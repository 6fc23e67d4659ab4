//! Who is asked: URLs with weights, and names that give no secret away.

use std::fmt;

use alloy_primitives::{hex, keccak256};
use url::Url;

/// Shortest part of a URL that is taken for a secret and hidden wherever an answer repeats it.
const SHORTEST_SECRET: usize = 6;

/// One endpoint as the job names it. Prints as its label only: the URL may hold a key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EndpointUrl {
    pub(super) url: Url,
    /// How much of the work it gets, compared with the others.
    pub(super) weight: u32,
    /// Host, port and a short id of the whole URL: the same in every run, and no way back to the key.
    pub(super) label: String,
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.label, self.weight)
    }
}

impl EndpointUrl {
    /// Reads `https://host/key` or `https://host/key|3`.
    pub(super) fn parse(text: &str) -> Option<EndpointUrl> {
        let (address, weight) = match text.rsplit_once('|') {
            Some((address, weight)) => (address, weight.parse().ok().filter(|weight| (1..=1_000).contains(weight))?),
            None => (text, 1),
        };
        let url = Url::parse(address).ok()?;
        let known = matches!(url.scheme(), "http" | "https" | "ws" | "wss");
        let host = url.host_str().filter(|_| known)?;
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let id = hex::encode(&keccak256(url.as_str())[..3]);
        let label = format!("{host}{port}#{id}");
        Some(EndpointUrl { url, weight, label })
    }

    /// Whether it is a WebSocket.
    pub(super) fn is_websocket(&self) -> bool {
        matches!(self.url.scheme(), "ws" | "wss")
    }

    /// Whether it is on this machine, where a proxy has no business.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
    }

    /// What must not be repeated from answers and errors.
    pub(super) fn secrets(&self) -> Secrets {
        let url = &self.url;
        let mut parts: Vec<String> = vec![url.username().to_owned(), url.password().unwrap_or("").to_owned()];
        parts.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
        parts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        parts.retain(|part| part.len() >= SHORTEST_SECRET);
        // The longest first, so that no part of a longer secret is left standing.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        Secrets(parts)
    }
}

/// Parts of a URL that may be keys.
#[derive(Clone)]
pub(super) struct Secrets(Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// The text without them, on one line and not longer than a log line should be.
    pub(super) fn hide(&self, text: &str) -> String {
        const LONGEST: usize = 300;
        let mut hidden = text.to_owned();
        for secret in &self.0 {
            hidden = hidden.replace(secret.as_str(), "…");
        }
        hidden.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_labels() {
        let endpoint = EndpointUrl::parse("https://eth.example.org/v2/0123456789abcdef|3").unwrap();
        assert_eq!(endpoint.weight, 3);
        assert!(endpoint.label.starts_with("eth.example.org#"), "{}", endpoint.label);
        let again = EndpointUrl::parse("https://eth.example.org/v2/0123456789abcdef").unwrap();
        assert_eq!((again.weight, &again.label), (1, &endpoint.label));
        let other = EndpointUrl::parse("https://eth.example.org/v2/fedcba9876543210").unwrap();
        assert_ne!(other.label, endpoint.label);
        assert!(EndpointUrl::parse("wss://example.org").unwrap().is_websocket());
        for wrong in ["example.org", "ftp://example.org", "https://example.org|0", "https://example.org|many", ""] {
            assert_eq!(EndpointUrl::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_are_neither_printed_nor_repeated() {
        let text = "https://user:passw0rd@node.example.org:8545/v2/0123456789abcdef?apikey=topsecret";
        let endpoint = EndpointUrl::parse(text).unwrap();
        let answer = "invalid key topsecret\nat /v2/0123456789abcdef for user:passw0rd";
        let shown = format!("{endpoint:?} {:?} {}", endpoint.secrets(), endpoint.secrets().hide(answer));
        for secret in ["passw0rd", "0123456789abcdef", "topsecret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("node.example.org:8545#"));
    }
}
