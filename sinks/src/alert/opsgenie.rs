//! `opsgenie`: alerts by the Alert API.
//!
//! A story is one alert, named by its alias. `fire` creates it; Opsgenie only counts a second creation of an open
//! alert, so later news create it again (it may be closed by now), set its priority and add a note. `resolve`
//! closes it with a note, an acknowledgement acknowledges it. Withdrawals undo: a withdrawn `fire` closes, a
//! withdrawn `resolve` creates it again, withdrawn `escalate` and `update` add a note.
//! Limits (Opsgenie, "Alert API"): message 130, description 15000, alias and entity 512, note 25000, details 8000.

use highwater_engine::model::alert::Severity;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{SinkError, SinkRequest};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::Kind;
use super::channel::{Action, Channel, Delivering, Failure, Outgoing, Receipt};
use super::connector::{AlertConnector, joined, length};
use super::http::{self, Http, HttpSettings, Request, take_url};
use super::outline::{Outline, Place};
use super::pagerduty::{Step, story_key, summary};
use super::secrets::Secrets;
use super::settings;
use super::template::{self, Templates};
use super::text::{plain, shortened, units};

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "api_key",
        kind: "text (secret)",
        default: "required",
        doc: "The GenieKey of an API integration.",
        example: "12345678-90ab-cdef-1234-567890abcdef",
    },
    OptionDoc {
        name: "api_url",
        kind: "URL",
        default: "https://api.opsgenie.com",
        doc: "Where the Alert API is; https://api.eu.opsgenie.com in the EU.",
        example: "https://api.eu.opsgenie.com",
    },
    OptionDoc {
        name: "tags",
        kind: "words, separated by commas",
        default: "none",
        doc: "Tags of every alert.",
        example: "chain, ethereum",
    },
    template::TITLE,
    template::TEMPLATE,
    template::LINK,
];

const LISTS: &[&[OptionDoc]] = &[OWN, http::OPTIONS, settings::OPTIONS];

/// The `opsgenie` connector.
pub const OPSGENIE: AlertConnector = AlertConnector {
    name: "opsgenie",
    about: "Stories of an alert as Opsgenie alerts that are created, acknowledged and closed.",
    options: &joined::<{ length(LISTS) }>(LISTS),
    make,
};

const MESSAGE_LIMIT: usize = 130;
const DESCRIPTION_LIMIT: usize = 15_000;
const ENTITY_LIMIT: usize = 512;
const NOTE_LIMIT: usize = 10_000;

fn make(_: &SinkRequest, options: &mut Options) -> Result<Box<dyn Channel>, SinkError> {
    let key = options.require_str("api_key")?;
    let mut secrets = Secrets::new();
    secrets.add(&key);
    let api = take_url(options, "api_url", Some("https://api.opsgenie.com"))?;
    let tags = options.take_with("tags", "at most 20 tags of at most 50 characters, separated by commas", |text| {
        let tags: Vec<_> = text.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
        (tags.len() <= 20 && tags.iter().all(|tag| tag.chars().count() <= 50)).then_some(tags)
    })?;
    let templates = Templates::take(options, plain, Some(plain))?;
    let http = Http::new(HttpSettings::take(options)?, secrets)
        .map_err(|failure| options.invalid("api_url", "…", &failure.detail))?;
    Ok(Box::new(Opsgenie { api, key, tags: tags.unwrap_or_default(), templates, http }))
}

struct Opsgenie {
    api: Url,
    key: String,
    tags: Vec<String>,
    templates: Templates,
    http: Http,
}

/// One request: method, what of the alert (none: the list of alerts), body.
type Call = (Method, Option<&'static str>, Value);

fn priority(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "P5",
        Severity::Medium => "P3",
        Severity::High => "P2",
        Severity::Critical => "P1",
    }
}

fn creation(templates: &Templates, tags: &[String], outgoing: &Outgoing) -> Value {
    let message = &outgoing.message;
    let mut details = json!({
        "alert": shortened(&message.alert, 200),
        "severity": message.severity,
        "block": message.block_number.to_string(),
        "id": shortened(&outgoing.idempotency_key, 500),
    });
    let link = templates.link(outgoing);
    if let Some(link) = &link {
        details["link"] = link.as_str().into();
    }
    json!({
        "message": summary(templates, outgoing, MESSAGE_LIMIT),
        "alias": story_key(outgoing),
        "description": description(templates, outgoing, DESCRIPTION_LIMIT),
        "entity": shortened(&message.group_key, ENTITY_LIMIT),
        "source": "Highwater",
        "priority": priority(message.severity()),
        "tags": tags,
        "details": details,
    })
}

fn description(templates: &Templates, outgoing: &Outgoing, limit: usize) -> String {
    let fits = |text: &str| !text.trim().is_empty() && units(text) <= limit;
    let text = templates.text.as_ref().and_then(|text| text.render(outgoing, fits));
    text.unwrap_or_else(|| shortened(&Outline::of(outgoing, Place::Beside).details(), limit))
}

/// What is asked, in this order.
fn calls(templates: &Templates, tags: &[String], outgoing: &Outgoing) -> Vec<Call> {
    let outline = Outline::of(outgoing, Place::Beside);
    let text = format!("{}\n{}", summary(templates, outgoing, 1_000), outline.details());
    let note = json!({ "note": shortened(&text, NOTE_LIMIT), "source": "Highwater" });
    let create = || (Method::POST, None, creation(templates, tags, outgoing));
    let set_priority = || (Method::PUT, Some("priority"), json!({ "priority": priority(outgoing.message.severity()) }));
    match Step::of(outgoing) {
        Step::Acknowledge => vec![(Method::POST, Some("acknowledge"), note)],
        Step::Close => vec![(Method::POST, Some("close"), note)],
        Step::Keep => vec![(Method::POST, Some("notes"), note)],
        Step::Open if matches!((&outgoing.action, outgoing.message.kind), (Action::Tell, Kind::Fire)) => vec![create()],
        Step::Open => vec![create(), set_priority(), (Method::POST, Some("notes"), note)],
    }
}

impl Opsgenie {
    async fn ask(&self, alias: &str, (method, part, body): Call) -> Result<Value, Failure> {
        let mut url = self.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["v2", "alerts"]);
            if let Some(part) = part {
                path.extend([alias, part]);
            }
        }
        if part.is_some() {
            url.query_pairs_mut().append_pair("identifierType", "alias");
        }
        let request = Request::json(method, url, &body).header("authorization", &format!("GenieKey {}", self.key))?;
        Ok(self.http.deliver(request).await?.json())
    }
}

impl Channel for Opsgenie {
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a> {
        Box::pin(async move {
            let alias = story_key(outgoing);
            let mut request_id = Value::Null;
            // Each of them may be repeated, so the whole is if one fails.
            for call in calls(&self.templates, &self.tags, outgoing) {
                request_id = self.ask(&alias, call).await?["requestId"].take();
            }
            Ok(Receipt(json!({ "key": alias, "request_id": request_id })))
        })
    }

    fn place(&self) -> String {
        http::place(&self.api)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{self, fire, tell, withdraw};
    use super::*;

    #[test]
    fn the_alert_follows_the_story() {
        let parts = |outgoing: &Outgoing| {
            let calls = calls(&Templates::default(), &[], outgoing);
            calls.into_iter().map(|(_, part, _)| part.unwrap_or("create")).collect::<Vec<_>>()
        };
        let kind = |kind| super::super::Message { kind, ..fire() };
        assert_eq!(parts(&tell(fire())), ["create"]);
        assert_eq!(parts(&tell(kind(Kind::Escalate))), ["create", "priority", "notes"]);
        assert_eq!(parts(&tell(kind(Kind::Resolve))), ["close"]);
        assert_eq!(parts(&withdraw(fire())), ["close"]);
        assert_eq!(parts(&withdraw(kind(Kind::Update))), ["notes"]);
        assert_eq!(parts(&withdraw(kind(Kind::Resolve))), ["create", "priority", "notes"]);
        assert_eq!(parts(&Outgoing { action: Action::Acknowledge, ..tell(fire()) }), ["acknowledge"]);
    }

    #[test]
    fn an_alert_looks_like_this() {
        let sent = creation(&Templates::default(), &["chain".to_owned()], &tell(fire()));
        let expected = json!({
            "message": "[HIGH] Sandwich <of> 12.5 ETH",
            "alias": story_key(&tell(fire())),
            "description": "Victim paid 3.1% more & lost\nSeverity: high (4.0 of 5)\nAbout: 0xpool\n\
                Found: profit 12.5 ETH\nWhy: profit > 10 ETH\nSeen: 2023-11-14T22:13:20Z\nBlock: 18570000\n\
                Status: active\nId: key-1",
            "entity": "0xpool",
            "source": "Highwater",
            "priority": "P2",
            "tags": ["chain"],
            "details": { "alert": "large_sandwich", "severity": "high", "block": "18570000", "id": "key-1" },
        });
        assert_eq!(sent, expected);
    }

    proptest! {
        #[test]
        fn limits_are_kept(outgoing in testing::outgoing()) {
            for (_, part, body) in calls(&Templates::default(), &[], &outgoing) {
                let length = |name: &str| body[name].as_str().unwrap_or_default().chars().count();
                if part.is_none() {
                    prop_assert!((1..=130).contains(&length("message")));
                    prop_assert!(length("description") <= 15_000 && length("entity") <= 512 && length("alias") <= 512);
                    prop_assert!(body["details"].to_string().len() <= 8_000 * 2);
                }
                prop_assert!(length("note") <= 25_000);
            }
        }
    }
}
