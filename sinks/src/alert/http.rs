//! HTTP for channels: one request, answered or failed in a bounded time, with a failure that says whether to
//! try again and holds no secret.
//!
//! * TLS is rustls with Mozilla's roots. No redirect is followed and no proxy is used: either would reach
//!   hosts that nobody checked.
//! * The *guard*: unless private addresses are allowed, a host must resolve to public addresses only, and the
//!   connection is made to the addresses that were looked at. So no job, and no name that changes its address,
//!   reaches a metadata service or a machine of the local network (server-side request forgery).
//! * Of an answer at most [`LONGEST_ANSWER_BYTES`] are read.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use highwater_engine::clock::unix_time_ms;
use highwater_engine::options::{OptionDoc, OptionError, Options};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, redirect};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use url::Url;

use super::channel::{Failure, Retry};
use super::guard::{self, Guarded, Refused};
use super::secrets::Secrets;

/// What is read of an answer.
pub const LONGEST_ANSWER_BYTES: usize = 256 * 1024;

/// Longest pause a service may ask for; a longer one is a mistake or an attack on the queue.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The options of all channels that speak HTTP.
pub const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "timeout",
        kind: "duration",
        default: "10 seconds",
        doc: "How long one request may take, connecting included.",
        example: "5 seconds",
    },
    OptionDoc {
        name: "allow_private",
        kind: "boolean",
        default: "false",
        doc: "Whether the host may have a private, local or otherwise not public address.",
        example: "true",
    },
];

/// What [`OPTIONS`] say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// How long one request may take.
    pub timeout: Duration,
    /// Whether addresses that are not public may be reached.
    pub allow_private: bool,
}

impl HttpSettings {
    /// Takes [`OPTIONS`].
    ///
    /// # Errors
    /// If a value has the wrong form.
    pub fn take(options: &mut Options) -> Result<HttpSettings, OptionError> {
        let timeout = options.take_duration("timeout")?.unwrap_or(Duration::from_secs(10));
        let allow_private = options.take_bool("allow_private")?.unwrap_or(false);
        Ok(HttpSettings { timeout, allow_private })
    }
}

/// Takes a URL that may hold a secret: the error does not repeat it.
///
/// # Errors
/// If it is absent (and there is no default), is not `http` or `https`, or has no host.
pub fn take_url(options: &mut Options, name: &'static str, default: Option<&str>) -> Result<Url, OptionError> {
    let text = match (options.take_str(name), default) {
        (Some(text), _) => text,
        (None, Some(default)) => default.to_owned(),
        (None, None) => return Err(OptionError::Missing { owner: options.owner().to_owned(), name: name.to_owned() }),
    };
    let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.filter(Url::has_host).ok_or_else(|| options.invalid(name, "…", "a URL that begins with http:// or https://"))
}

/// Host and port of a URL: what may be shown of it.
pub fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// One request. Prints as its method and host only.
#[derive(Clone)]
pub struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, place(&self.url))
    }
}

impl Request {
    /// A request with a body of any kind.
    pub fn new(method: Method, url: Url, content_type: &'static str, body: impl Into<Vec<u8>>) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Request { method, url, headers, body: body.into() }
    }

    /// A request with a JSON body.
    pub fn json(method: Method, url: Url, body: &Value) -> Request {
        Request::new(method, url, "application/json", body.to_string())
    }

    /// With one more header; one of the same name is replaced.
    ///
    /// # Errors
    /// If name or value cannot stand in a header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Request, Failure> {
        let wrong =
            || Failure { detail: format!("header {name:?} cannot be sent; remove line breaks"), retry: Retry::Never };
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        self.headers.insert(header, value);
        Ok(self)
    }
}

/// What a service answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The pause it asks for.
    pub retry_after: Option<Duration>,
    /// The start of the body.
    pub body: String,
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Sends the requests of one channel. Prints without its secrets.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    settings: HttpSettings,
    secrets: Secrets,
}

impl Http {
    /// A client that hides the given secrets in all failures. Touches no network.
    ///
    /// # Errors
    /// If the TLS library refuses its settings.
    pub fn new(settings: HttpSettings, secrets: Secrets) -> Result<Http, Failure> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls())
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Guarded { allow_private: settings.allow_private }))
            .connect_timeout(settings.timeout)
            .timeout(settings.timeout)
            .pool_idle_timeout(Duration::from_secs(20))
            .tcp_nodelay(true)
            .user_agent(concat!("highwater/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure { detail: secrets.hide(&cause(&error)), retry: Retry::Never })?;
        Ok(Http { client, settings, secrets })
    }

    /// The text without secrets, on one line.
    pub fn hide(&self, text: &str) -> String {
        self.secrets.hide(text)
    }

    /// Sends one request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// If there was no whole answer, or the host may not be reached.
    pub async fn send(&self, request: Request) -> Result<Answer, Failure> {
        let place = place(&request.url);
        if !self.settings.allow_private {
            guard::check_literal(&request.url).map_err(|refused| refusal(&place, &refused))?;
        }
        let sent = self.client.request(request.method, request.url).headers(request.headers).body(request.body);
        let mut response = sent.send().await.map_err(|error| self.failed(&place, &error))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while body.len() < LONGEST_ANSWER_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                // The status stands: whoever said 200 has taken the message, also if the rest of the answer is lost.
                Err(_) => break,
            }
        }
        body.truncate(LONGEST_ANSWER_BYTES);
        Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Sends one request; any status but 2xx is a failure as [`Http::refused`] sorts it.
    ///
    /// # Errors
    /// If there was no answer, or another status.
    pub async fn deliver(&self, request: Request) -> Result<Answer, Failure> {
        let place = place(&request.url);
        let answer = self.send(request).await?;
        if answer.is_success() { Ok(answer) } else { Err(self.refused(&place, &answer)) }
    }

    /// The failure that an answer with another status than 2xx is: 408, 425, 429 and 5xx are tried again, after
    /// the pause the service asks for if it does; all others are for good.
    pub fn refused(&self, place: &str, answer: &Answer) -> Failure {
        let said = self.hide(&answer.body);
        let reason = StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
        let mut detail = format!("{place} answered {}", answer.status);
        if let Some(reason) = reason {
            detail.push(' ');
            detail.push_str(reason);
        }
        if !said.is_empty() {
            detail.push_str(": ");
            detail.push_str(&said);
        }
        Failure { detail, retry: retry_of(answer.status, answer.retry_after) }
    }

    fn failed(&self, place: &str, error: &reqwest::Error) -> Failure {
        if let Some(refused) = find::<Refused>(error) {
            return refusal(place, refused);
        }
        let (what, retry) =
            if error.is_connect() { ("connecting to", Retry::NotTaken) } else { ("asking", Retry::Backoff) };
        let why = if error.is_timeout() {
            format!("no answer within {} ms", self.settings.timeout.as_millis())
        } else {
            self.hide(&cause(error))
        };
        Failure { detail: format!("{what} {place} failed: {why}"), retry }
    }
}

/// Whether to try again after this status.
pub fn retry_of(status: u16, retry_after: Option<Duration>) -> Retry {
    match status {
        425 | 429 | 503 => retry_after.map_or(Retry::NotTaken, Retry::After),
        // A gateway may have passed it on before it gave up.
        408 | 500..=599 => retry_after.map_or(Retry::Backoff, Retry::After),
        _ => Retry::Never,
    }
}

/// Reads `Retry-After`: seconds, also with a fraction, or an HTTP date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    parse_retry_after(text, unix_time_ms())
}

/// The pause that a `Retry-After` asks for at a time (milliseconds since the epoch), at most an hour.
pub fn parse_retry_after(text: &str, now_ms: i64) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        let pause = Duration::try_from_secs_f64(seconds).ok()?;
        return Some(pause.min(LONGEST_RETRY_AFTER));
    }
    let then = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
    Some(then.saturating_sub(now).min(LONGEST_RETRY_AFTER))
}

fn refusal(place: &str, refused: &Refused) -> Failure {
    Failure { detail: format!("{place} is not reached: {refused}"), retry: Retry::Never }
}

/// The innermost cause: the layers above it repeat the URL.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if cause.is::<reqwest::Error>() { "the request failed".to_owned() } else { cause.to_string() }
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Rustls with ring and Mozilla's roots, whatever the machine has.
pub fn tls() -> ClientConfig {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3");
    builder.with_root_certificates(roots).with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_read_in_both_forms() {
        let seconds = |text| parse_retry_after(text, 784_111_767_000).map(|pause| pause.as_secs_f64());
        assert_eq!(seconds("120"), Some(120.0));
        assert_eq!(seconds(" 0.25 "), Some(0.25));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(10.0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0.0));
        assert_eq!(seconds("99999999"), Some(3600.0));
        assert_eq!(seconds("-1"), None);
        assert_eq!(seconds("soon"), None);
    }

    #[test]
    fn statuses_say_whether_to_try_again() {
        for status in [408, 500, 502, 504, 599] {
            assert_eq!(retry_of(status, None), Retry::Backoff);
        }
        for status in [425, 429, 503] {
            assert_eq!(retry_of(status, None), Retry::NotTaken);
        }
        for status in [301, 400, 401, 404, 410, 422] {
            assert_eq!(retry_of(status, Some(Duration::ZERO)), Retry::Never);
        }
        assert_eq!(retry_of(429, Some(Duration::from_secs(3))), Retry::After(Duration::from_secs(3)));
    }
}
