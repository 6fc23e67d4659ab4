//! `discord`: a webhook with embeds; corrections edit the message.
//!
//! Limits (Discord, "Webhook resource" and "Embed limits"): title 256, description 4096, 25 fields of name 256
//! and value 1024, footer 2048, all of an embed together 6000 characters. Nobody is ever mentioned
//! (`allowed_mentions`), whatever the text holds.

use highwater_engine::model::alert::Severity;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{SinkError, SinkRequest};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

use super::Kind;
use super::channel::{Action, Channel, Delivering, Failure, Outgoing, Receipt, Retry};
use super::connector::{AlertConnector, joined, length};
use super::http::{self, Http, HttpSettings, Request, take_url};
use super::outline::{Outline, Place, told};
use super::payload::time;
use super::secrets::Secrets;
use super::settings;
use super::template::{self, Templates};
use super::text::{discord, fitted, shortened, units};

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "url",
        kind: "URL (secret)",
        default: "required",
        doc: "The webhook; ?thread_id=… posts into a thread of its channel.",
        example: "https://discord.com/api/webhooks/123/abc",
    },
    OptionDoc {
        name: "username",
        kind: "text",
        default: "that of the webhook",
        doc: "The name messages are posted under.",
        example: "Highwater",
    },
    template::TITLE,
    template::TEMPLATE,
    template::LINK,
];

const LISTS: &[&[OptionDoc]] = &[OWN, http::OPTIONS, settings::OPTIONS];

/// The `discord` connector.
pub const DISCORD: AlertConnector = AlertConnector {
    name: "discord",
    about: "Notifications of an alert to a Discord channel; corrections edit the message.",
    options: &joined::<{ length(LISTS) }>(LISTS),
    make,
};

const TITLE_LIMIT: usize = 256;
const DESCRIPTION_LIMIT: usize = 4_096;
const VALUE_LIMIT: usize = 500;
const FOOTER_LIMIT: usize = 512;
const EMBED_LIMIT: usize = 6_000;

/// The code of Discord for a message that is not there (any more).
const UNKNOWN_MESSAGE: u64 = 10_008;

fn make(_: &SinkRequest, options: &mut Options) -> Result<Box<dyn Channel>, SinkError> {
    let url = take_url(options, "url", None)?;
    let mut secrets = Secrets::new();
    secrets.add_url(&url);
    let username = options.take_with("username", "a name of 1 to 80 characters", |name| {
        (1..=80).contains(&name.chars().count()).then(|| name.to_owned())
    })?;
    let templates = Templates::take(options, discord, Some(discord))?;
    let http = Http::new(HttpSettings::take(options)?, secrets)
        .map_err(|failure| options.invalid("url", "…", &failure.detail))?;
    Ok(Box::new(Discord { url, username, templates, http }))
}

struct Discord {
    url: Url,
    username: Option<String>,
    templates: Templates,
    http: Http,
}

fn colour(outgoing: &Outgoing) -> u32 {
    match (&outgoing.action, outgoing.message.kind) {
        (Action::Withdraw(_), _) => 0x95_a5_a6,
        (_, Kind::Resolve) => 0x2e_cc_71,
        _ => match outgoing.message.severity() {
            Severity::Low => 0x34_98_db,
            Severity::Medium => 0xf1_c4_0f,
            Severity::High => 0xe6_7e_22,
            Severity::Critical => 0xe7_4c_3c,
        },
    }
}

/// A message with one embed.
fn content(templates: &Templates, outgoing: &Outgoing, place: Place) -> Value {
    let outline = Outline::of(outgoing, place);
    let fits = |limit| move |text: &str| !text.trim().is_empty() && units(text) <= limit;
    let title = templates.title.as_ref().and_then(|title| title.render(outgoing, fits(TITLE_LIMIT)));
    let title = title.unwrap_or_else(|| fitted(&outline.headline(), TITLE_LIMIT, discord));
    let note = outline.note.as_deref().map(|note| format!("**{}**\n", fitted(note, 700, discord)));
    let note = note.unwrap_or_default();
    let footer = shortened(&format!("id {}", outline.id), FOOTER_LIMIT);
    let used = [&title, &note, &footer].map(|text| units(text)).into_iter().sum::<usize>();
    let room = DESCRIPTION_LIMIT.saturating_sub(units(&note));
    let mut embed = json!({
        "color": colour(outgoing),
        "timestamp": time(outgoing.message.notified_at_ms),
        "footer": { "text": footer },
    });
    let body = match templates.text.as_ref().and_then(|text| text.render(outgoing, fits(room))) {
        Some(text) => text,
        None => {
            let (fields, fields_length) = fields(&outline);
            let room = room.min(EMBED_LIMIT.saturating_sub(used + fields_length));
            embed["fields"] = fields.into();
            standard(&outline, room)
        }
    };
    embed["title"] = title.into();
    embed["description"] = format!("{note}{body}").into();
    if let Some(link) = templates.link(outgoing) {
        embed["url"] = link.into();
    }
    json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })
}

fn fields(outline: &Outline) -> (Vec<Value>, usize) {
    let mut length = 0;
    let fields = outline.facts.iter().map(|(name, value)| {
        let value = fitted(value, VALUE_LIMIT, discord);
        // An empty value is refused.
        let value = if value.trim().is_empty() { "\u{200b}".to_owned() } else { value };
        length += name.len() + units(&value);
        json!({ "name": name, "value": value, "inline": value.len() <= 40 })
    });
    (fields.collect(), length)
}

fn standard(outline: &Outline, room: usize) -> String {
    let body = fitted(&outline.body, room.saturating_sub(4), discord);
    if outline.struck && !body.is_empty() { format!("~~{body}~~") } else { body }
}

impl Discord {
    /// The address of the webhook or of one of its messages, with the query of the job (`thread_id`).
    fn address(&self, message: Option<&str>) -> Url {
        let mut url = self.url.clone();
        match message {
            Some(id) => {
                if let Ok(mut path) = url.path_segments_mut() {
                    path.pop_if_empty().push("messages").push(id);
                }
            }
            None => {
                url.query_pairs_mut().append_pair("wait", "true");
            }
        }
        url
    }

    async fn ask(&self, method: Method, message: Option<&str>, mut body: Value) -> Result<Value, Failure> {
        if let (None, Some(username)) = (message, &self.username) {
            body["username"] = username.as_str().into();
        }
        let answer = self.http.send(Request::json(method, self.address(message), &body)).await?;
        if answer.is_success() {
            return Ok(answer.json());
        }
        let mut failure = self.http.refused(&self.place(), &answer);
        // The JSON is finer than the header, which is in whole seconds.
        if let (429, Some(seconds)) = (answer.status, answer.json()["retry_after"].as_f64())
            && let Ok(pause) = Duration::try_from_secs_f64(seconds)
        {
            failure.retry = Retry::After(pause.min(Duration::from_secs(3_600)));
        }
        if answer.status == 404 && answer.json()["code"] == UNKNOWN_MESSAGE {
            failure.detail = GONE.to_owned();
        }
        Err(failure)
    }
}

/// The detail of a failed edit of a message that somebody deleted.
const GONE: &str = "the message is not there any more";

impl Channel for Discord {
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a> {
        Box::pin(async move {
            let original = told(&outgoing.action).and_then(|told| told.receipt.0["id"].as_str());
            if let Some(id) = original {
                let edited = content(&self.templates, outgoing, Place::Instead);
                match self.ask(Method::PATCH, Some(id), edited).await {
                    Ok(_) => return Ok(Receipt(json!({ "id": id }))),
                    Err(failure) if failure.detail == GONE => {}
                    Err(failure) => return Err(failure),
                }
            }
            let posted = content(&self.templates, outgoing, Place::Beside);
            let said = self.ask(Method::POST, None, posted).await?;
            Ok(Receipt(json!({ "id": said["id"] })))
        })
    }

    fn place(&self) -> String {
        http::place(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{self, fire, tell, withdraw};
    use super::*;

    #[test]
    fn a_message_looks_like_this() {
        let templates = testing::templates(&[("link", "https://etherscan.io/tx/{{ fields.tx_hash }}")], discord, None);
        let field = |name: &str, value: &str| json!({ "name": name, "value": value, "inline": true });
        let expected = json!({
            "embeds": [{
                "color": 0xe6_7e_22,
                "title": "\\[HIGH\\] Sandwich \\<of\\> 12.5 ETH",
                "url": "https://etherscan.io/tx/0xab%2Fcd",
                "description": "Victim paid 3.1% more & lost",
                "timestamp": "2023-11-14T22:13:20Z",
                "footer": { "text": "id key-1" },
                "fields": [
                    field("Severity", "high \\(4.0 of 5\\)"), field("About", "0xpool"),
                    field("Found", "profit 12.5 ETH"), field("Why", "profit \\> 10 ETH"),
                    field("Seen", "2023\\-11\\-14T22\\:13\\:20Z"), field("Block", "18570000"),
                    field("Status", "active"),
                ],
            }],
            "allowed_mentions": { "parse": [] },
        });
        assert_eq!(content(&templates, &tell(fire()), Place::Beside), expected);
        let struck = content(&templates, &withdraw(fire()), Place::Instead);
        assert!(struck["embeds"][0]["description"].as_str().unwrap().ends_with("~~Victim paid 3.1% more & lost~~"));
        assert_eq!(struck["embeds"][0]["footer"]["text"], "id key-1");
    }

    proptest! {
        #[test]
        fn limits_are_kept(outgoing in testing::outgoing(), templated: bool, edit: bool) {
            let link = ("link", "https://a.example/{{ reason }}");
            let given = [("template", "{{ title }} {{ body }}"), ("title", "{{ title }}!"), link];
            let given = if templated { &given[..] } else { &[] };
            let templates = testing::templates(given, discord, Some(discord));
            let body = content(&templates, &outgoing, if edit { Place::Instead } else { Place::Beside });
            prop_assert_eq!(&body["allowed_mentions"], &json!({ "parse": [] }));
            let embed = &body["embeds"][0];
            let length = |text: &Value| units(text.as_str().unwrap_or_default());
            prop_assert!((1..=256).contains(&length(&embed["title"])));
            prop_assert!(length(&embed["description"]) <= 4_096);
            prop_assert!((1..=2_048).contains(&length(&embed["footer"]["text"])));
            prop_assert!(length(&embed["url"]) <= 2_048 * 3);
            let mut total = length(&embed["title"]) + length(&embed["description"]) + length(&embed["footer"]["text"]);
            let fields = embed["fields"].as_array().cloned().unwrap_or_default();
            prop_assert!(fields.len() <= 25);
            for field in &fields {
                prop_assert!((1..=256).contains(&length(&field["name"])));
                prop_assert!((1..=1_024).contains(&length(&field["value"])));
                total += length(&field["name"]) + length(&field["value"]);
            }
            prop_assert!(total <= 6_000);
            let shown = format!("{}{}", embed["title"], embed["description"]);
            prop_assert!(!shown.contains("@everyone") && !shown.contains("@here") && !shown.contains("](j"));
        }
    }
}
