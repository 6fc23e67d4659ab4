//! One request to one endpoint: how it is sent, and what kind of failure came back.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use alloy_json_rpc::{ErrorPayload, RpcError};
use alloy_rpc_client::RpcClient;
use alloy_transport::{TransportError, TransportErrorKind};
use alloy_transport_http::Http;
use serde_json::value::RawValue;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::endpoint::{EndpointUrl, Secrets};

/// What kind of failure it was. The names are those of the column `error_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ErrorKind {
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Connect,
    /// The connection cannot be made safe.
    Tls,
    /// An HTTP status that is no success.
    Http,
    /// Too many requests.
    RateLimited,
    /// The node answered with an error.
    JsonRpc,
    /// The node has not what was asked for, or not yet.
    NullResult,
    /// The answer is not JSON-RPC.
    Malformed,
    /// The answer contradicts the question, itself, or what is known.
    Inconsistent,
}

impl ErrorKind {
    pub(super) const ALL: [ErrorKind; 9] = [
        ErrorKind::Timeout,
        ErrorKind::Connect,
        ErrorKind::Tls,
        ErrorKind::Http,
        ErrorKind::RateLimited,
        ErrorKind::JsonRpc,
        ErrorKind::NullResult,
        ErrorKind::Malformed,
        ErrorKind::Inconsistent,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            ErrorKind::Timeout => "timeout",
            ErrorKind::Connect => "connect",
            ErrorKind::Tls => "tls",
            ErrorKind::Http => "http",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::JsonRpc => "jsonrpc",
            ErrorKind::NullResult => "null_result",
            ErrorKind::Malformed => "malformed",
            ErrorKind::Inconsistent => "inconsistent",
        }
    }
}

/// A request that failed. Holds no URL, and nothing of one.
#[derive(Clone, Debug)]
pub(super) struct CallError {
    pub(super) kind: ErrorKind,
    /// The endpoint's label.
    pub(super) place: String,
    pub(super) method: &'static str,
    pub(super) http_status: Option<u16>,
    pub(super) jsonrpc_code: Option<i64>,
    pub(super) retry_after: Option<Duration>,
    pub(super) detail: String,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} failed ({})", self.method, self.place, self.kind.name())?;
        if let Some(status) = self.http_status {
            write!(f, ", HTTP status {status}")?;
        }
        if let Some(code) = self.jsonrpc_code {
            write!(f, ", code {code}")?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl Error for CallError {}

impl CallError {
    pub(super) fn new(kind: ErrorKind, place: &str, method: &'static str, detail: impl Into<String>) -> CallError {
        CallError {
            kind,
            place: place.to_owned(),
            method,
            http_status: None,
            jsonrpc_code: None,
            retry_after: None,
            detail: detail.into(),
        }
    }

    /// Whether a contract refused the call, which is an answer.
    pub(super) fn is_revert(&self) -> bool {
        let says = |text: &str| self.detail.to_ascii_lowercase().contains(text);
        self.kind == ErrorKind::JsonRpc
            && (self.jsonrpc_code == Some(3) || says("revert") || says("invalid opcode") || says("invalid jump"))
    }

    /// Whether the node says that it does not know the method, now or ever.
    pub(super) fn is_unknown_method(&self) -> bool {
        let says = |text: &str| self.detail.to_ascii_lowercase().contains(text);
        self.kind == ErrorKind::JsonRpc
            && (self.jsonrpc_code == Some(-32601)
                || says("method not found")
                || says("not supported")
                || says("unsupported method")
                || says("does not exist/is not available"))
    }
}

/// Sends requests to one endpoint through alloy's HTTP transport.
pub(super) struct Caller {
    client: RpcClient,
    label: String,
    secrets: Secrets,
    timeout: Duration,
}

impl Caller {
    pub(super) fn new(endpoint: &EndpointUrl, timeout: Duration) -> Result<Caller, CallError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(super::tls::client_config())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeout)
            .tcp_nodelay(true);
        if endpoint.is_local() {
            builder = builder.no_proxy();
        }
        let secrets = endpoint.secrets();
        let client = builder.build().map_err(|error| {
            CallError::new(ErrorKind::Tls, &endpoint.label, "connecting", secrets.hide(&cause(&error)))
        })?;
        let transport = Http::with_client(client, endpoint.url.clone());
        let client = RpcClient::new(transport, endpoint.is_local());
        Ok(Caller { client, label: endpoint.label.clone(), secrets, timeout })
    }

    /// The text of the answer's result; `null` is an error of its own kind.
    pub(super) async fn call(&self, method: &'static str, params: &RawValue) -> Result<Box<RawValue>, CallError> {
        let answer = self.client.request::<_, Box<RawValue>>(method, params.to_owned());
        // The transport writes the URL to its spans; nothing of them may reach a log.
        let answer = answer.with_subscriber(NoSubscriber::default());
        match tokio::time::timeout(self.timeout, answer).await {
            Err(_) => Err(CallError::new(
                ErrorKind::Timeout,
                &self.label,
                method,
                format!("no answer within {} ms", self.timeout.as_millis()),
            )),
            Ok(Ok(result)) if result.get() == "null" => Err(self.null(method)),
            Ok(Ok(result)) => Ok(result),
            Ok(Err(RpcError::NullResp)) => Err(self.null(method)),
            Ok(Err(error)) => Err(classify(error, &self.label, method, &self.secrets)),
        }
    }

    fn null(&self, method: &'static str) -> CallError {
        CallError::new(ErrorKind::NullResult, &self.label, method, "the answer is null")
    }
}

/// Sorts a failure of the transport, and takes the URL out of it.
pub(super) fn classify(error: TransportError, place: &str, method: &'static str, secrets: &Secrets) -> CallError {
    match error {
        RpcError::ErrorResp(payload) => of_payload(&payload, place, method, secrets),
        RpcError::Transport(kind) => of_transport(&kind, place, method, secrets),
        RpcError::DeserError { text, .. } => malformed(&text, place, method, secrets),
        other => CallError::new(ErrorKind::Malformed, place, method, secrets.hide(&other.to_string())),
    }
}

fn of_payload(payload: &ErrorPayload, place: &str, method: &'static str, secrets: &Secrets) -> CallError {
    let kind = if is_too_much(payload.code, &payload.message) {
        ErrorKind::RateLimited
    } else if is_not_there(&payload.message) {
        ErrorKind::NullResult
    } else {
        ErrorKind::JsonRpc
    };
    let mut error = CallError::new(kind, place, method, secrets.hide(&payload.message));
    error.jsonrpc_code = Some(payload.code);
    error
}

/// Providers have no code of their own in common; -32005 is the one EIP-1474 gives.
fn is_too_much(code: i64, message: &str) -> bool {
    const WORDS: [&str; 6] = [
        "rate limit",
        "limit exceeded",
        "too many requests",
        "request limit",
        "compute units per second",
        "exceeded the quota",
    ];
    let message = message.to_ascii_lowercase();
    code == -32005 || code == 429 || WORDS.iter().any(|words| message.contains(words))
}

/// Some nodes say with an error what others say with `null`.
fn is_not_there(message: &str) -> bool {
    const WORDS: [&str; 4] = ["header not found", "block not found", "unknown block", "could not find block"];
    let message = message.to_ascii_lowercase();
    WORDS.iter().any(|words| message.contains(words))
}

fn of_transport(kind: &TransportErrorKind, place: &str, method: &'static str, secrets: &Secrets) -> CallError {
    if let Some(http) = kind.as_http_error() {
        let kind_of_status = if http.status == 429 { ErrorKind::RateLimited } else { ErrorKind::Http };
        let mut error = CallError::new(kind_of_status, place, method, secrets.hide(&http.body));
        error.http_status = Some(http.status);
        error.retry_after = kind.retry_after();
        return error;
    }
    let found = kind.as_custom().and_then(|error| error.downcast_ref::<reqwest::Error>());
    let detail = kind.as_custom().map_or_else(|| kind.to_string(), |error| cause(error));
    let sort = match found {
        Some(error) if error.is_timeout() => ErrorKind::Timeout,
        _ if kind.as_custom().is_some_and(is_tls) => ErrorKind::Tls,
        _ => ErrorKind::Connect,
    };
    CallError::new(sort, place, method, secrets.hide(&detail))
}

fn malformed(text: &str, place: &str, method: &'static str, secrets: &Secrets) -> CallError {
    let start: String = text.chars().take(80).collect();
    let detail = format!("the answer is not JSON-RPC and begins with {start:?}");
    CallError::new(ErrorKind::Malformed, place, method, secrets.hide(&detail))
}

/// The innermost cause: the layers above it repeat the URL.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if cause.is::<reqwest::Error>() { "the request failed".to_owned() } else { cause.to_string() }
}

fn is_tls(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        next = error.source();
    }
    false
}
