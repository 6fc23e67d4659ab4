//! `slack`: an incoming webhook (`url`), or the Web API (`token` and `channel`).
//!
//! * A webhook can only post: everything is a message of its own, and a correction names what it corrects.
//! * The Web API threads: the first message of a story is the root, later ones are replies, and the root is
//!   brought up to date each time. Corrections are made with `chat.update`; if Slack refuses to edit, a reply
//!   names what it corrects.
//!
//! Limits (Slack, "Block Kit reference"): header 150, section 3000, context element 2000 characters, 50 blocks.

use std::time::Duration;

use highwater_engine::options::{OptionDoc, OptionError, Options};
use highwater_engine::sink::{SinkError, SinkRequest};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::Kind;
use super::channel::{Action, Channel, Delivering, Failure, Outgoing, Receipt, Retry};
use super::connector::{AlertConnector, joined, length};
use super::http::{self, Http, HttpSettings, Request, take_url};
use super::outline::{Outline, Place, told};
use super::secrets::Secrets;
use super::settings;
use super::template::{self, Templates};
use super::text::{fitted, mrkdwn, plain, shortened, units};

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "url",
        kind: "URL (secret)",
        default: "required",
        doc: "An incoming webhook; or give token and channel instead.",
        example: "https://hooks.slack.com/services/T000/B000/XXXX",
    },
    OptionDoc {
        name: "token",
        kind: "text (secret)",
        default: "none: url is used",
        doc: "A bot token with the scope chat:write: messages of a story become a thread, corrections are edits.",
        example: "xoxb-…",
    },
    OptionDoc {
        name: "channel",
        kind: "text",
        default: "required with token",
        doc: "Id or name of the channel.",
        example: "C0123456789",
    },
    OptionDoc {
        name: "api_url",
        kind: "URL",
        default: "https://slack.com/api",
        doc: "Where the Web API is.",
        example: "https://slack-gov.com/api",
    },
    template::TITLE,
    template::TEMPLATE,
    template::LINK,
];

const LISTS: &[&[OptionDoc]] = &[OWN, http::OPTIONS, settings::OPTIONS];

/// The `slack` connector.
pub const SLACK: AlertConnector = AlertConnector {
    name: "slack",
    about: "Notifications of an alert to a Slack channel, in threads with a bot token.",
    options: &joined::<{ length(LISTS) }>(LISTS),
    make,
};

const HEADER_LIMIT: usize = 150;
const SECTION_LIMIT: usize = 3_000;
const CONTEXT_LIMIT: usize = 2_000;

/// What Slack says when it may have taken nothing and may take it later.
const PASSING: [&str; 6] =
    ["internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org", "rollup_error"];

/// What Slack says of a message it will not edit.
const NOT_EDITABLE: [&str; 4] = ["message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"];

/// The pause after `ratelimited` without a `Retry-After`: the limit is one message a second a channel.
const RATE_PAUSE: Duration = Duration::from_secs(2);

fn make(_: &SinkRequest, options: &mut Options) -> Result<Box<dyn Channel>, SinkError> {
    let mut secrets = Secrets::new();
    let route = route(options, &mut secrets)?;
    let templates = Templates::take(options, mrkdwn, Some(plain))?;
    let http = Http::new(HttpSettings::take(options)?, secrets)
        .map_err(|failure| options.invalid("url", "…", &failure.detail))?;
    Ok(Box::new(Slack { route, templates, http }))
}

fn route(options: &mut Options, secrets: &mut Secrets) -> Result<Route, OptionError> {
    let token = options.take_str("token");
    let channel = options.take_str("channel");
    let api = take_url(options, "api_url", Some("https://slack.com/api"))?;
    match (token, channel) {
        (Some(token), Some(channel)) => {
            secrets.add(&token);
            match options.take_str("url") {
                Some(_) => Err(options.invalid("url", "…", "used beside token; remove one of the two")),
                None => Ok(Route::Api { api, token, channel }),
            }
        }
        (Some(_), None) => Err(options.invalid("channel", "", "the id of a channel, which token needs")),
        (None, Some(channel)) => {
            Err(options.invalid("channel", channel, "used by a webhook, which has its own; give token"))
        }
        (None, None) => {
            let url = take_url(options, "url", None)?;
            secrets.add_url(&url);
            Ok(Route::Webhook(url))
        }
    }
}

enum Route {
    Webhook(Url),
    Api { api: Url, token: String, channel: String },
}

struct Slack {
    route: Route,
    templates: Templates,
    http: Http,
}

/// The part of a message that is the same for both routes: `text` for notifications of a device, and `blocks`.
fn content(templates: &Templates, outgoing: &Outgoing, place: Place) -> Value {
    let outline = Outline::of(outgoing, place);
    let fits = |limit| move |text: &str| !text.trim().is_empty() && units(text) <= limit;
    let title = templates.title.as_ref().and_then(|title| title.render(outgoing, fits(HEADER_LIMIT)));
    let headline = title.unwrap_or_else(|| shortened(&outline.headline(), HEADER_LIMIT));
    let text = |text: String| json!({ "type": "mrkdwn", "text": text, "verbatim": true });
    let mut blocks =
        vec![json!({ "type": "header", "text": { "type": "plain_text", "text": headline, "emoji": false } })];
    if let Some(note) = &outline.note {
        let note = fitted(note, SECTION_LIMIT - 2, mrkdwn);
        blocks.push(json!({ "type": "section", "text": text(format!("*{note}*")) }));
    }
    let body = templates.text.as_ref().and_then(|body| body.render(outgoing, fits(SECTION_LIMIT)));
    blocks.push(json!({ "type": "section", "text": text(body.unwrap_or_else(|| standard(&outline))) }));
    if let Some(link) = templates.link(outgoing) {
        let link = link.replace('&', "&amp;");
        // Past the limit it would be refused, and a link cannot be cut.
        if link.len() + 10 <= SECTION_LIMIT {
            blocks.push(json!({ "type": "section", "text": text(format!("<{link}|Open>")) }));
        }
    }
    let id = fitted(&format!("id {}", outline.id), CONTEXT_LIMIT, mrkdwn);
    blocks.push(json!({ "type": "context", "elements": [text(id)] }));
    json!({
        "text": fitted(&headline, SECTION_LIMIT, mrkdwn),
        "blocks": blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn standard(outline: &Outline) -> String {
    let facts = outline.facts.iter().map(|(name, value)| {
        let value = fitted(value, 300, mrkdwn);
        format!("*{name}:* {value}")
    });
    let facts = facts.collect::<Vec<_>>().join("\n");
    let room = SECTION_LIMIT.saturating_sub(units(&facts) + 3);
    let body = fitted(&outline.body, room, mrkdwn);
    match (body.is_empty(), outline.struck) {
        (true, _) => facts,
        // Struck text ends at a line break.
        (false, true) if !body.contains('\n') => format!("~{body}~\n{facts}"),
        (false, _) => format!("{body}\n{facts}"),
    }
}

/// What is asked of the Web API.
fn call(method: &'static str, channel: &str, mut content: Value, place: Value) -> (&'static str, Value) {
    content["channel"] = channel.into();
    content["parse"] = "none".into();
    if let (Value::Object(content), Value::Object(place)) = (&mut content, place) {
        content.extend(place);
    }
    (method, content)
}

impl Slack {
    async fn post_webhook(&self, url: &Url, outgoing: &Outgoing) -> Result<Receipt, Failure> {
        let body = content(&self.templates, outgoing, Place::Beside);
        self.http.deliver(Request::json(Method::POST, url.clone(), &body)).await?;
        Ok(Receipt(json!({})))
    }

    /// Calls the Web API. It answers 200 also when it refuses.
    async fn ask(&self, api: &Url, token: &str, (method, body): (&str, Value)) -> Result<Value, Failure> {
        let mut url = api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(method);
        }
        let request = Request::json(Method::POST, url, &body).header("authorization", &format!("Bearer {token}"))?;
        let answer = self.http.deliver(request).await?;
        let said = answer.json();
        if said["ok"] == true {
            return Ok(said);
        }
        let error = said["error"].as_str().unwrap_or("no answer in JSON");
        let retry = match error {
            "ratelimited" | "rate_limited" => Retry::After(answer.retry_after.unwrap_or(RATE_PAUSE)),
            passing if PASSING.contains(&passing) => Retry::Backoff,
            "no answer in JSON" => Retry::Backoff,
            _ => Retry::Never,
        };
        let detail = format!("{} refused {method}: {}", self.place(), self.http.hide(error));
        Err(Failure { detail, retry })
    }

    async fn post_api(&self, api: &Url, token: &str, channel: &str, outgoing: &Outgoing) -> Result<Receipt, Failure> {
        let root = outgoing.story.as_ref().and_then(place_of);
        let original = told(&outgoing.action).and_then(|told| place_of(&told.receipt));
        if let Some((original_channel, ts)) = &original {
            let edited = content(&self.templates, outgoing, Place::Instead);
            let edit = call("chat.update", original_channel, edited, json!({ "ts": ts }));
            match self.ask(api, token, edit).await {
                Ok(_) => {
                    let is_root = root.as_ref().is_none_or(|(_, root)| root == ts);
                    if let (false, Some(root)) = (is_root, &root) {
                        self.refresh(api, token, root, outgoing).await;
                    }
                    return Ok(receipt(original_channel, ts));
                }
                Err(failure) if NOT_EDITABLE.iter().any(|word| failure.detail.ends_with(word)) => {}
                Err(failure) => return Err(failure),
            }
        }
        let mut thread = json!({});
        if let Some((_, ts)) = root.as_ref().or(original.as_ref()) {
            // Who muted the thread still learns that it got worse.
            thread = json!({ "thread_ts": ts, "reply_broadcast": outgoing.message.kind == Kind::Escalate });
        }
        let posted = call("chat.postMessage", channel, content(&self.templates, outgoing, Place::Beside), thread);
        let said = self.ask(api, token, posted).await?;
        if let Some(root) = &root {
            self.refresh(api, token, root, outgoing).await;
        }
        let channel = said["channel"].as_str().unwrap_or(channel);
        Ok(receipt(channel, said["ts"].as_str().unwrap_or_default()))
    }

    /// Brings the root up to date. The news is delivered already: if this fails, only the root is behind, and
    /// trying again would tell the news twice.
    async fn refresh(&self, api: &Url, token: &str, (channel, ts): &(String, String), outgoing: &Outgoing) {
        let mut current = content(&self.templates, outgoing, Place::Beside);
        if matches!(outgoing.action, Action::Withdraw(_)) {
            let note = "*The last news of this story was withdrawn; see the thread.*";
            let block = json!({ "type": "section", "text": { "type": "mrkdwn", "text": note, "verbatim": true } });
            let title = shortened(&format!("[CORRECTED] {}", outgoing.message.title), HEADER_LIMIT);
            let header = json!({ "type": "header", "text": { "type": "plain_text", "text": title, "emoji": false } });
            current["blocks"] = json!([header, block]);
        }
        if let Err(failure) = self.ask(api, token, call("chat.update", channel, current, json!({ "ts": ts }))).await {
            tracing::warn!(sink = outgoing.message.sink, %failure, "the first message of a story is not up to date");
        }
    }
}

fn receipt(channel: &str, ts: &str) -> Receipt {
    Receipt(json!({ "channel": channel, "ts": ts }))
}

/// Channel and time stamp of a message.
fn place_of(receipt: &Receipt) -> Option<(String, String)> {
    let text = |name: &str| receipt.0[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    Some((text("channel")?, text("ts")?))
}

impl Channel for Slack {
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a> {
        Box::pin(async move {
            match &self.route {
                Route::Webhook(url) => self.post_webhook(url, outgoing).await,
                Route::Api { api, token, channel } => self.post_api(api, token, channel, outgoing).await,
            }
        })
    }

    fn place(&self) -> String {
        match &self.route {
            Route::Webhook(url) => http::place(url),
            Route::Api { api, .. } => http::place(api),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{self, fire, tell, withdraw};
    use super::*;

    #[test]
    fn a_message_looks_like_this() {
        let link = ("link", "https://etherscan.io/tx/{{ fields.tx_hash }}?a=1&b=2");
        let templates = testing::templates(&[link], mrkdwn, Some(plain));
        let section =
            |text: &str| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } });
        let expected = json!({
            "text": "[HIGH] Sandwich &lt;of&gt; 12.5 ETH",
            "blocks": [
                { "type": "header",
                  "text": { "type": "plain_text", "text": "[HIGH] Sandwich <of> 12.5 ETH", "emoji": false } },
                section("Victim paid 3.1% more &amp; lost\n*Severity:* high (4.0 of 5)\n*About:* 0xpool\n\
                         *Found:* profit 12.5 ETH\n*Why:* profit &gt; 10 ETH\n*Seen:* 2023-11-14T22:13:20Z\n\
                         *Block:* 18570000\n*Status:* active"),
                section("<https://etherscan.io/tx/0xab%2Fcd?a=1&amp;b=2|Open>"),
                { "type": "context", "elements": [{ "type": "mrkdwn", "text": "id key-1", "verbatim": true }] },
            ],
            "unfurl_links": false,
            "unfurl_media": false,
        });
        assert_eq!(content(&templates, &tell(fire()), Place::Beside), expected);
        let struck = content(&templates, &withdraw(fire()), Place::Instead);
        assert_eq!(struck["blocks"][0]["text"]["text"], "[WITHDRAWN] Sandwich <of> 12.5 ETH");
        assert!(struck["blocks"][2]["text"]["text"].as_str().unwrap().starts_with("~Victim"));
        let beside = content(&templates, &withdraw(fire()), Place::Beside).to_string();
        assert!(beside.contains("Withdraws key-1"), "{beside}");
    }

    #[test]
    fn options_exclude_each_other() {
        let refused = |given: &[(&str, &str)]| {
            let mut options = testing::options(given);
            route(&mut options, &mut Secrets::new()).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(refused(&[("token", "xoxb-1234567")]).contains("channel"));
        assert!(
            refused(&[("token", "xoxb-1234567"), ("channel", "C1"), ("url", "https://a.example/x")]).contains("url")
        );
        assert!(refused(&[("url", "https://a.example/x"), ("channel", "C1")]).contains("channel"));
        assert!(!refused(&[("url", "xoxb-secret")]).contains("secret"));
    }

    proptest! {
        #[test]
        fn limits_are_kept_and_nothing_is_mentioned(outgoing in testing::outgoing(), templated: bool, edit: bool) {
            let link = ("link", "https://a.example/{{ reason }}");
            let given = [("template", "{{ title }} {{ body }}"), ("title", "{{ title }}!"), link];
            let given = if templated { &given[..] } else { &[] };
            let templates = testing::templates(given, mrkdwn, Some(plain));
            let body = content(&templates, &outgoing, if edit { Place::Instead } else { Place::Beside });
            prop_assert!(units(body["text"].as_str().unwrap()) <= SECTION_LIMIT);
            let blocks = body["blocks"].as_array().unwrap();
            prop_assert!(blocks.len() <= 50);
            for block in blocks {
                let (text, limit) = match block["type"].as_str().unwrap() {
                    "header" => (&block["text"], HEADER_LIMIT),
                    "section" => (&block["text"], SECTION_LIMIT),
                    _ => (&block["elements"][0], CONTEXT_LIMIT),
                };
                let is_markup = text["type"] == "mrkdwn";
                let text = text["text"].as_str().unwrap();
                prop_assert!(!text.is_empty() && units(text) <= limit);
                if is_markup && !text.starts_with("<https://a.example/") {
                    prop_assert!(!text.contains(['<', '>']), "{}", text);
                    let rest = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
                    prop_assert!(!rest.contains('&'), "{}", text);
                }
            }
        }
    }
}
