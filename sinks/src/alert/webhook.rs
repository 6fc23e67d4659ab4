//! `webhook`: a signed JSON document to a URL of one's own.
//!
//! The body is that of [`payload`](super::payload()). With a secret it is signed as Standard Webhooks
//! says (<https://www.standardwebhooks.com>): `webhook-id` is the idempotency key, `webhook-timestamp` the
//! seconds of this attempt, `webhook-signature` is `v1,` and base64 of HMAC-SHA-256 of `id.timestamp.body`.
//! Any 2xx is a receipt; 408, 425, 429 and 5xx are tried again; everything else is for good.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{SinkError, SinkRequest};
use reqwest::Method;
use ring::hmac;
use serde_json::json;
use url::Url;

use super::channel::{Channel, Delivering, Failure, Outgoing, Receipt};
use super::connector::{AlertConnector, joined, length};
use super::http::{self, Http, HttpSettings, Request, take_url};
use super::payload::payload;
use super::secrets::Secrets;
use super::settings;

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "url",
        kind: "URL (secret)",
        default: "required",
        doc: "Where each notification is posted.",
        example: "https://alerts.example.org/highwater",
    },
    OptionDoc {
        name: "secret",
        kind: "text (secret)",
        default: "none: not signed",
        doc: "The key of the signature: 'whsec_' and base64, or any text.",
        example: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    },
    OptionDoc {
        name: "headers",
        kind: "'Name: value' pairs, separated by ;",
        default: "none",
        doc: "More headers of each request.",
        example: "X-Team: ops; Authorization: Bearer abcdef",
    },
];

const LISTS: &[&[OptionDoc]] = &[OWN, http::OPTIONS, settings::OPTIONS];

/// The `webhook` connector.
pub const WEBHOOK: AlertConnector = AlertConnector {
    name: "webhook",
    about: "Notifications of an alert as signed JSON to a URL.",
    options: &joined::<{ length(LISTS) }>(LISTS),
    make,
};

/// Header names a job may not set: they are the delivery's own.
const RESERVED: [&str; 7] = [
    "content-type",
    "content-length",
    "host",
    "transfer-encoding",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

fn make(_: &SinkRequest, options: &mut Options) -> Result<Box<dyn Channel>, SinkError> {
    let url = take_url(options, "url", None)?;
    let mut secrets = Secrets::new();
    secrets.add_url(&url);
    let key = match options.take_str("secret") {
        Some(text) => {
            secrets.add(&text);
            let wrong = || options.invalid("secret", "…", "base64 behind 'whsec_', or a text");
            Some(read_secret(&text).ok_or_else(wrong)?)
        }
        None => None,
    };
    let headers = match options.take_str("headers") {
        Some(text) => read_headers(&text).ok_or_else(|| {
            options.invalid("headers", "…", "a list such as 'X-Team: ops; X-Stage: live' of free names")
        })?,
        None => Vec::new(),
    };
    for (_, value) in &headers {
        value.split_whitespace().for_each(|word| secrets.add(word));
    }
    let http = Http::new(HttpSettings::take(options)?, secrets)
        .map_err(|failure| options.invalid("url", "…", &failure.detail))?;
    Ok(Box::new(Webhook { url, key, headers, http }))
}

/// The key of a signature. Standard Webhooks writes it as `whsec_` and base64; other text is taken as it is.
fn read_secret(text: &str) -> Option<hmac::Key> {
    let bytes = match text.trim().strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).ok()?,
        None => text.trim().as_bytes().to_vec(),
    };
    (!bytes.is_empty()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn read_headers(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once(':')?;
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
            let sendable = reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
                && reqwest::header::HeaderValue::from_str(&value).is_ok();
            (sendable && !RESERVED.contains(&name.as_str())).then_some((name, value))
        })
        .collect()
}

/// Base64 of HMAC-SHA-256 of `id.timestamp.body`, with its version in front.
fn signature(key: &hmac::Key, id: &str, timestamp_s: i64, body: &str) -> String {
    let signed = hmac::sign(key, format!("{id}.{timestamp_s}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(signed))
}

struct Webhook {
    url: Url,
    key: Option<hmac::Key>,
    headers: Vec<(String, String)>,
    http: Http,
}

impl Webhook {
    fn request(&self, outgoing: &Outgoing) -> Result<Request, Failure> {
        let body = payload(outgoing).to_string();
        let id = &outgoing.idempotency_key;
        let timestamp_s = outgoing.sent_at_s;
        let signature = self.key.as_ref().map(|key| signature(key, id, timestamp_s, &body));
        let mut request = Request::new(Method::POST, self.url.clone(), "application/json", body)
            .header("webhook-id", id)?
            .header("webhook-timestamp", &timestamp_s.to_string())?;
        if let Some(signature) = signature {
            request = request.header("webhook-signature", &signature)?;
        }
        self.headers.iter().try_fold(request, |request, (name, value)| request.header(name, value))
    }
}

impl Channel for Webhook {
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a> {
        Box::pin(async move {
            let answer = self.http.deliver(self.request(outgoing)?).await?;
            Ok(Receipt(json!({ "status": answer.status })))
        })
    }

    fn place(&self) -> String {
        http::place(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector was made with the reference library of Standard Webhooks for Python.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let key = read_secret("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
        let expected = "v1,BiZ1SBUIJnsc5sakxxy82IOpJzHiXeeQFx2qg/467Z8=";
        assert_eq!(signature(&key, "msg_1", 1_795_168_267, r#"{"kind":"sandwich"}"#), expected);
        assert!(read_secret("whsec_not base64").is_none());
        assert!(read_secret("").is_none());
    }

    #[test]
    fn headers_of_the_delivery_are_not_given_away() {
        assert_eq!(read_headers("X-Team: ops; ").unwrap(), [("x-team".to_owned(), "ops".to_owned())]);
        assert_eq!(read_headers("A: b: c").unwrap(), [("a".to_owned(), "b: c".to_owned())]);
        for wrong in ["no colon", "Webhook-Id: x", "Host: x", "bad name: x", "A: line\nbreak"] {
            assert_eq!(read_headers(wrong), None, "{wrong}");
        }
    }
}
