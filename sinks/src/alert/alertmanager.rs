//! `alertmanager`: alerts to a Prometheus Alertmanager (API v2), which groups, silences and routes them.
//!
//! An alert of Alertmanager is its labels: `alertname`, `severity`, `group` and those of the job. News of a
//! story that are not its end fire the alert of its severity and end those of the other severities; `resolve` and
//! a withdrawn `fire` end all. Alertmanager forgets alerts that nobody repeats, so each says how long it holds:
//! `expires_after`. It has no acknowledgements; silences are made there.

use std::time::Duration;

use highwater_engine::model::alert::Severity;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{SinkError, SinkRequest};
use reqwest::Method;
use serde_json::{Map, Value, json};
use url::Url;

use super::channel::{Channel, Delivering, Outgoing, Receipt};
use super::connector::{AlertConnector, joined, length};
use super::http::{self, Http, HttpSettings, Request, take_url};
use super::outline::{Outline, Place};
use super::pagerduty::{Step, summary};
use super::payload::time;
use super::secrets::Secrets;
use super::settings;
use super::template::{self, Templates};
use super::text::{plain, shortened};

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "url",
        kind: "URL",
        default: "required",
        doc: "The Alertmanager, without /api/v2/alerts; user and password may be part of it.",
        example: "https://alertmanager.example.org",
    },
    OptionDoc {
        name: "labels",
        kind: "'name=value' pairs, separated by ;",
        default: "none",
        doc: "More labels of each alert.",
        example: "team=ops; chain=ethereum",
    },
    OptionDoc {
        name: "expires_after",
        kind: "duration",
        default: "7 days",
        doc: "How long Alertmanager keeps an alert of which it hears nothing more.",
        example: "1 day",
    },
    template::TITLE,
    template::TEMPLATE,
    template::LINK,
];

const LISTS: &[&[OptionDoc]] = &[OWN, http::OPTIONS, settings::OPTIONS];

/// The `alertmanager` connector.
pub const ALERTMANAGER: AlertConnector = AlertConnector {
    name: "alertmanager",
    about: "Stories of an alert to a Prometheus Alertmanager.",
    options: &joined::<{ length(LISTS) }>(LISTS),
    make,
};

const ANNOTATION_LIMIT: usize = 8_000;

/// Labels a job may not set.
const RESERVED: [&str; 3] = ["alertname", "severity", "group"];

fn make(_: &SinkRequest, options: &mut Options) -> Result<Box<dyn Channel>, SinkError> {
    let url = take_url(options, "url", None)?;
    let mut secrets = Secrets::new();
    secrets.add(url.username());
    secrets.add(url.password().unwrap_or_default());
    let labels = options.take_with("labels", "a list such as 'team=ops; chain=ethereum' of free names", read_labels)?;
    let expires_after = options.take_duration("expires_after")?.unwrap_or(Duration::from_secs(7 * 86_400));
    let templates = Templates::take(options, plain, Some(plain))?;
    let http = Http::new(HttpSettings::take(options)?, secrets)
        .map_err(|failure| options.invalid("url", "…", &failure.detail))?;
    let form = Form { labels: labels.unwrap_or_default(), expires_after, templates };
    Ok(Box::new(Alertmanager { url, form, http }))
}

fn read_labels(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            let is_name = begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let is_free = is_name && !RESERVED.contains(&name) && !value.is_empty();
            is_free.then(|| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

struct Form {
    labels: Vec<(String, String)>,
    expires_after: Duration,
    templates: Templates,
}

impl Form {
    /// The alerts of one notification; none if nothing changes.
    fn alerts(&self, outgoing: &Outgoing) -> Vec<Value> {
        let open = match Step::of(outgoing) {
            Step::Open => Some(outgoing.message.severity()),
            Step::Close => None,
            Step::Acknowledge | Step::Keep => return Vec::new(),
        };
        // All are named, also those that are over: which of them Alertmanager has is not known here.
        Severity::ALL.map(|severity| self.alert(outgoing, severity, open == Some(severity))).into()
    }

    fn alert(&self, outgoing: &Outgoing, severity: Severity, fires: bool) -> Value {
        let message = &outgoing.message;
        let now_ms = outgoing.sent_at_s.saturating_mul(1_000);
        let held_ms = i64::try_from(self.expires_after.as_millis()).unwrap_or(i64::MAX / 4);
        let ends_ms = if fires { now_ms.saturating_add(held_ms) } else { now_ms };
        let mut labels: Map<String, Value> =
            self.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        labels.insert("alertname".to_owned(), shortened(&message.alert, 500).into());
        labels.insert("severity".to_owned(), severity.as_str().into());
        labels.insert("group".to_owned(), shortened(&message.group_key, 500).into());
        let outline = Outline::of(outgoing, Place::Beside);
        let fits = |text: &str| text.len() <= ANNOTATION_LIMIT;
        let text = self.templates.text.as_ref().and_then(|text| text.render(outgoing, fits));
        let mut alert = json!({
            "labels": labels,
            "annotations": {
                "summary": summary(&self.templates, outgoing, 500),
                "description": text.unwrap_or_else(|| shortened(&outline.details(), ANNOTATION_LIMIT)),
                "story_id": shortened(&message.story_id, 500),
                "id": shortened(&outgoing.idempotency_key, 500),
            },
            // Clocks of chains may be ahead; an alert that ends before it begins is refused.
            "startsAt": time(message.opened_at_ms.min(now_ms)),
            "endsAt": time(ends_ms),
        });
        if let Some(link) = self.templates.link(outgoing) {
            alert["generatorURL"] = link.into();
        }
        alert
    }
}

struct Alertmanager {
    url: Url,
    form: Form,
    http: Http,
}

impl Channel for Alertmanager {
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a> {
        Box::pin(async move {
            let alerts = self.form.alerts(outgoing);
            if alerts.is_empty() {
                return Ok(Receipt(json!({ "kept": true })));
            }
            let mut url = self.url.clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().extend(["api", "v2", "alerts"]);
            }
            self.http.deliver(Request::json(Method::POST, url, &Value::from(alerts))).await?;
            Ok(Receipt(json!({})))
        })
    }

    fn place(&self) -> String {
        http::place(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, fire, tell, withdraw};
    use super::super::{Kind, Message};
    use super::*;

    fn form(given: &[(&str, &str)]) -> Form {
        Form {
            labels: read_labels("team=ops").unwrap(),
            expires_after: Duration::from_secs(3_600),
            templates: testing::templates(given, plain, Some(plain)),
        }
    }

    #[test]
    fn an_alert_looks_like_this() {
        let form = form(&[("template", "{{ reason }}"), ("link", "https://a.example/{{ block_number }}")]);
        let alerts = form.alerts(&tell(fire()));
        assert_eq!(alerts.len(), 4);
        let expected = json!({
            "labels": { "alertname": "large_sandwich", "severity": "high", "group": "0xpool", "team": "ops" },
            "annotations": {
                "summary": "[HIGH] Sandwich <of> 12.5 ETH",
                "description": "profit 12.5 ETH",
                "story_id": "large_sandwich/0xpool",
                "id": "key-1",
            },
            "startsAt": "2023-11-14T22:13:20Z",
            "endsAt": "2023-11-14T23:15:00Z",
            "generatorURL": "https://a.example/18570000",
        });
        assert_eq!(alerts[2], expected);
        assert_eq!(alerts[0]["endsAt"], "2023-11-14T22:15:00Z");
    }

    #[test]
    fn the_end_ends_all() {
        let ends = |outgoing: &Outgoing| {
            let alerts = form(&[]).alerts(outgoing);
            alerts.iter().filter(|alert| alert["endsAt"] == "2023-11-14T22:15:00Z").count()
        };
        assert_eq!(ends(&tell(Message { kind: Kind::Resolve, ..fire() })), 4);
        assert_eq!(ends(&withdraw(fire())), 4);
        assert_eq!(ends(&tell(fire())), 3);
        assert!(form(&[]).alerts(&withdraw(Message { kind: Kind::Update, ..fire() })).is_empty());
    }

    #[test]
    fn labels_of_the_alert_are_not_given_away() {
        assert_eq!(
            read_labels(" a=b ;; c_1 = d e"),
            Some(vec![("a".into(), "b".into()), ("c_1".into(), "d e".into())])
        );
        for wrong in ["severity=x", "1a=b", "a", "a=", "a-b=c"] {
            assert_eq!(read_labels(wrong), None, "{wrong}");
        }
    }
}
