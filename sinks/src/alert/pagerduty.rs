//! `pagerduty`: incidents by the Events API v2.
//!
//! A story is one alert of PagerDuty: `dedup_key` is made of the alert and the story. `fire`, `escalate` and
//! `update` trigger it (again), `resolve` resolves it, an acknowledgement acknowledges it. A withdrawal undoes
//! what was told: a withdrawn `fire` resolves the incident, a withdrawn `resolve` triggers it again; withdrawn
//! `escalate` and `update` change nothing, as the incident stands. Limits: summary 1024, event 512 KB.

use highwater_engine::model::alert::Severity;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{SinkError, SinkRequest};
use reqwest::Method;
use ring::digest;
use serde_json::{Value, json};
use url::Url;

use super::channel::{Action, Channel, Delivering, Outgoing, Receipt};
use super::connector::{AlertConnector, joined, length};
use super::http::{self, Http, HttpSettings, Request, take_url};
use super::outline::{Outline, Place, told};
use super::payload::{payload, time};
use super::secrets::Secrets;
use super::settings;
use super::template::{self, Templates};
use super::text::{plain, shortened};
use super::{Kind, Message};

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "routing_key",
        kind: "text (secret)",
        default: "required",
        doc: "The integration key of a service or a rule set (Events API v2).",
        example: "R0UT1NGKEY0123456789abcdef012345",
    },
    OptionDoc {
        name: "api_url",
        kind: "URL",
        default: "https://events.pagerduty.com",
        doc: "Where the Events API is; https://events.eu.pagerduty.com in the EU.",
        example: "https://events.eu.pagerduty.com",
    },
    template::TITLE,
    template::LINK,
];

const LISTS: &[&[OptionDoc]] = &[OWN, http::OPTIONS, settings::OPTIONS];

/// The `pagerduty` connector.
pub const PAGERDUTY: AlertConnector = AlertConnector {
    name: "pagerduty",
    about: "Stories of an alert as PagerDuty incidents that are triggered, acknowledged and resolved.",
    options: &joined::<{ length(LISTS) }>(LISTS),
    make,
};

const SUMMARY_LIMIT: usize = 1_024;

/// What is left of the 512 KB for the columns of the finding and the texts; JSON escapes need up to six bytes.
const DETAILS_LIMIT: usize = 64 * 1024;

fn make(_: &SinkRequest, options: &mut Options) -> Result<Box<dyn Channel>, SinkError> {
    let key = options.require_str("routing_key")?;
    let mut secrets = Secrets::new();
    secrets.add(&key);
    let api = take_url(options, "api_url", Some("https://events.pagerduty.com"))?;
    let templates = Templates {
        text: None,
        title: template::Template::take(options, "title", plain)?,
        link: template::take_link(options)?,
    };
    let http = Http::new(HttpSettings::take(options)?, secrets)
        .map_err(|failure| options.invalid("api_url", "…", &failure.detail))?;
    Ok(Box::new(PagerDuty { api, key, templates, http }))
}

struct PagerDuty {
    api: Url,
    key: String,
    templates: Templates,
    http: Http,
}

/// The name of the story's incident: that which its messages had so far, as their receipts say. A reorg may have
/// changed the id of the story, and the incident of the old one would stay open for ever.
pub(super) fn story_key(outgoing: &Outgoing) -> String {
    let named = |receipt: &Receipt| receipt.0["key"].as_str().map(str::to_owned);
    let original = told(&outgoing.action).and_then(|told| named(&told.receipt));
    let known = original.or_else(|| outgoing.story.as_ref().and_then(named));
    known.unwrap_or_else(|| new_key(&outgoing.message))
}

/// A name for a story that is short enough for every service, whatever its id holds.
fn new_key(message: &Message) -> String {
    let digest = digest::digest(&digest::SHA256, format!("{}\0{}", message.alert, message.story_id).as_bytes());
    let hash: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("highwater-{hash}")
}

/// What happens to the incident of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is there, as the message says.
    Open,
    /// Somebody has taken it on.
    Acknowledge,
    /// It is over.
    Close,
    /// It stays as it is.
    Keep,
}

impl Step {
    /// The step that a notification makes.
    pub(super) fn of(outgoing: &Outgoing) -> Step {
        match (&outgoing.action, outgoing.message.kind) {
            (Action::Acknowledge, _) => Step::Acknowledge,
            (Action::Tell | Action::Amend(_), Kind::Resolve) | (Action::Withdraw(_), Kind::Fire) => Step::Close,
            (Action::Withdraw(_), Kind::Escalate | Kind::Update) => Step::Keep,
            (Action::Withdraw(_), Kind::Resolve) | (Action::Tell | Action::Amend(_), _) => Step::Open,
        }
    }
}

/// One line about the story. A story that is open again is not headed as withdrawn.
pub(super) fn summary(templates: &Templates, outgoing: &Outgoing, limit: usize) -> String {
    let outline = Outline::of(outgoing, Place::Beside);
    let fits = |text: &str| !text.trim().is_empty() && text.chars().count() <= limit;
    let title = templates.title.as_ref().and_then(|title| title.render(outgoing, fits));
    let standard = match (&outgoing.action, outgoing.message.kind) {
        (Action::Withdraw(_), Kind::Resolve) => format!("[NOT RESOLVED] {}", outline.title),
        _ => outline.headline(),
    };
    title.unwrap_or_else(|| shortened(&standard, limit))
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "info",
        Severity::Medium => "warning",
        Severity::High => "error",
        Severity::Critical => "critical",
    }
}

/// The notification with its texts cut and its columns left out if they are too large.
fn details(outgoing: &Outgoing) -> Value {
    let mut details = payload(outgoing);
    if let Value::Object(members) = &mut details {
        for (_, value) in members.iter_mut() {
            if let Value::String(text) = value {
                *text = shortened(text, 8_000);
            } else if value.to_string().len() > DETAILS_LIMIT {
                *value = "too large for an event".into();
            }
        }
    }
    if let Some(note) = Outline::of(outgoing, Place::Beside).note {
        details["note"] = shortened(&note, 1_000).into();
    }
    details
}

fn event(key: &str, templates: &Templates, outgoing: &Outgoing) -> Option<Value> {
    let message = &outgoing.message;
    let action = match Step::of(outgoing) {
        Step::Open => "trigger",
        Step::Acknowledge => "acknowledge",
        Step::Close => "resolve",
        Step::Keep => return None,
    };
    let mut event = json!({
        "routing_key": key,
        "event_action": action,
        "dedup_key": story_key(outgoing),
        "client": "Highwater",
        "payload": {
            "summary": summary(templates, outgoing, SUMMARY_LIMIT),
            "source": named(&message.group_key, &message.alert),
            "severity": severity(message.severity()),
            "timestamp": time(message.last_seen_at_ms),
            "component": shortened(&message.alert, 200),
            "class": message.kind,
            "custom_details": details(outgoing),
        },
    });
    if let Some(link) = templates.link(outgoing) {
        event["links"] = json!([{ "href": link, "text": "Open" }]);
    }
    Some(event)
}

/// A text that must not be empty.
fn named(text: &str, otherwise: &str) -> String {
    shortened(if text.trim().is_empty() { otherwise } else { text }, 200)
}

impl Channel for PagerDuty {
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a> {
        Box::pin(async move {
            let receipt = Receipt(json!({ "key": story_key(outgoing) }));
            let Some(event) = event(&self.key, &self.templates, outgoing) else { return Ok(receipt) };
            let mut url = self.api.clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().extend(["v2", "enqueue"]);
            }
            self.http.deliver(Request::json(Method::POST, url, &event)).await?;
            Ok(receipt)
        })
    }

    fn place(&self) -> String {
        http::place(&self.api)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::channel::Told;
    use super::super::testing::{self, fire, tell, withdraw};
    use super::*;

    fn of(outgoing: &Outgoing) -> Option<Value> {
        event("key", &Templates::default(), outgoing)
    }

    #[test]
    fn an_event_looks_like_this() {
        let mut sent = of(&tell(fire())).unwrap();
        assert_eq!(sent["payload"]["custom_details"].take()["fields"]["profit"], 12.5);
        let expected = json!({
            "routing_key": "key",
            "event_action": "trigger",
            "dedup_key": new_key(&fire()),
            "client": "Highwater",
            "payload": {
                "summary": "[HIGH] Sandwich <of> 12.5 ETH",
                "source": "0xpool",
                "severity": "error",
                "timestamp": "2023-11-14T22:13:20Z",
                "component": "large_sandwich",
                "class": "fire",
                "custom_details": null,
            },
        });
        assert_eq!(sent, expected);
    }

    #[test]
    fn the_incident_follows_the_story() {
        let action = |outgoing: &Outgoing| of(outgoing).map(|event| event["event_action"].as_str().unwrap().to_owned());
        let kind = |kind| Message { kind, ..fire() };
        assert_eq!(action(&tell(kind(Kind::Escalate))).as_deref(), Some("trigger"));
        assert_eq!(action(&tell(kind(Kind::Resolve))).as_deref(), Some("resolve"));
        assert_eq!(action(&withdraw(fire())).as_deref(), Some("resolve"));
        assert_eq!(action(&withdraw(kind(Kind::Resolve))).as_deref(), Some("trigger"));
        assert_eq!(action(&withdraw(kind(Kind::Update))), None);
        let acknowledged = Outgoing { action: Action::Acknowledge, ..tell(fire()) };
        assert_eq!(action(&acknowledged).as_deref(), Some("acknowledge"));
    }

    /// An amendment may bring another story's id; the incident is the same.
    #[test]
    fn the_incident_keeps_its_key() {
        let moved = Message { story_id: "another".to_owned(), ..fire() };
        let first = Receipt(json!({ "key": new_key(&fire()) }));
        let mut amended = withdraw(moved.clone());
        amended.action = Action::Amend(Told { idempotency_key: "key-1".to_owned(), receipt: first.clone() });
        let later = Outgoing { story: Some(first), ..tell(moved.clone()) };
        for outgoing in [amended, later] {
            assert_eq!(of(&outgoing).unwrap()["dedup_key"], new_key(&fire()).as_str());
        }
        assert_ne!(story_key(&tell(moved)), new_key(&fire()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn limits_are_kept(outgoing in testing::outgoing()) {
            if let Some(event) = of(&outgoing) {
                prop_assert!(event.to_string().len() <= 512 * 1024);
                let payload = &event["payload"];
                prop_assert!((1..=1_024).contains(&payload["summary"].as_str().unwrap().chars().count()));
                prop_assert!(!payload["source"].as_str().unwrap().is_empty());
                prop_assert!(event["dedup_key"].as_str().unwrap().len() <= 255);
            }
        }
    }
}
