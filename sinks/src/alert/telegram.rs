//! `telegram`: a bot that writes to a chat, in replies to the first message of a story; corrections edit.
//!
//! Texts are MarkdownV2. A message has at most 4096 characters *after* its markup is taken out, and Telegram
//! counts UTF-16 code units (Bot API, "sendMessage" and "MessageEntity"). A bot may send about one message a
//! second to a chat, which is the default of `max_per_minute`; to a group 20 a minute, which a job has to say.

use std::time::Duration;

use highwater_engine::model::alert::Severity;
use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{SinkError, SinkRequest};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::channel::{Action, Channel, Delivering, Failure, Outgoing, Receipt, Retry};
use super::connector::{AlertConnector, joined, length};
use super::http::{self, Http, HttpSettings, Request, take_url};
use super::outline::{Outline, Place, told};
use super::secrets::Secrets;
use super::settings;
use super::template::{self, Templates};
use super::text::{escaped, markdown_v2, shortened, units};

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "token",
        kind: "text (secret)",
        default: "required",
        doc: "The token of the bot.",
        example: "123456:ABC-DEF1234ghIkl",
    },
    OptionDoc {
        name: "chat_id",
        kind: "integer or @name",
        default: "required",
        doc: "The chat, group or channel; the bot must be a member. In a group set max_per_minute = 20.",
        example: "-1001234567890",
    },
    OptionDoc { name: "thread_id", kind: "integer", default: "none", doc: "The topic of a forum group.", example: "7" },
    OptionDoc {
        name: "silent_below",
        kind: "severity",
        default: "low: every message makes a sound",
        doc: "Messages of a lesser severity make no sound.",
        example: "high",
    },
    OptionDoc {
        name: "api_url",
        kind: "URL",
        default: "https://api.telegram.org",
        doc: "Where the Bot API is.",
        example: "http://localhost:8081",
    },
    template::TEMPLATE,
    template::LINK,
];

const LISTS: &[&[OptionDoc]] = &[OWN, http::OPTIONS, settings::OPTIONS];

/// The `telegram` connector.
pub const TELEGRAM: AlertConnector = AlertConnector {
    name: "telegram",
    about: "Notifications of an alert from a Telegram bot, in replies; corrections edit the message.",
    options: &joined::<{ length(LISTS) }>(LISTS),
    make,
};

const TEXT_LIMIT: usize = 4_096;

fn make(_: &SinkRequest, options: &mut Options) -> Result<Box<dyn Channel>, SinkError> {
    let token = options.require_str("token")?;
    // It becomes a part of a path.
    let is_token = |token: &str| token.chars().all(|c| c.is_ascii_alphanumeric() || ":_-".contains(c));
    if token.is_empty() || !is_token(&token) {
        return Err(options.invalid("token", "…", "a bot token such as 123456:ABC-DEF").into());
    }
    let mut secrets = Secrets::new();
    secrets.add(&token);
    token.split(':').for_each(|part| secrets.add(part));
    let chat = options.require_str("chat_id")?;
    let chat = chat.trim().parse::<i64>().map_or_else(|_| json!(chat.trim()), |id| json!(id));
    if chat.as_str().is_some_and(|name| !name.starts_with('@')) {
        let given = chat.as_str().unwrap_or_default();
        return Err(options.invalid("chat_id", given, "a number, or the @name of a public chat").into());
    }
    let thread = options.take_u64("thread_id")?;
    let words = Severity::ALL.map(|severity| (severity.as_str(), severity));
    let silent_below = options.take_choice("silent_below", &words)?.unwrap_or(Severity::Low);
    let api = take_url(options, "api_url", Some("https://api.telegram.org"))?;
    let templates = Templates::take(options, markdown_v2, None)?;
    let http = Http::new(HttpSettings::take(options)?, secrets)
        .map_err(|failure| options.invalid("token", "…", &failure.detail))?;
    Ok(Box::new(Telegram { api, token, chat, thread, silent_below, templates, http }))
}

struct Telegram {
    api: Url,
    token: String,
    chat: Value,
    thread: Option<u64>,
    silent_below: Severity,
    templates: Templates,
    http: Http,
}

/// Length of a MarkdownV2 text as Telegram counts it: a backslash before a character is none.
fn visible_length(text: &str) -> usize {
    let (mut length, mut after_backslash) = (0, false);
    for character in text.chars() {
        after_backslash = character == '\\' && !after_backslash;
        if !after_backslash {
            length += character.len_utf16();
        }
    }
    length
}

/// The text of a message in MarkdownV2.
fn text(templates: &Templates, outgoing: &Outgoing, place: Place) -> String {
    let outline = Outline::of(outgoing, place);
    let escape = |text: &str| escaped(text, markdown_v2);
    let mut head = Vec::new();
    if let Some(note) = &outline.note {
        head.push(format!("_{}_", escape(&shortened(note, 700)).replace('\n', " ")));
    }
    let link = templates.link(outgoing).filter(|link| link.len() <= 1_000);
    let tail = [
        link.map(|link| format!("[Open]({link})")),
        Some(format!("`{}`", escape(&shortened(&format!("id {}", outline.id), 300)))),
    ];
    let tail = tail.into_iter().flatten().collect::<Vec<_>>().join("\n");
    let around = visible_length(&head.join("\n")) + visible_length(&tail) + 4;
    let fits = |text: &str| !text.trim().is_empty() && visible_length(text) + around <= TEXT_LIMIT;
    match templates.text.as_ref().and_then(|template| template.render(outgoing, fits)) {
        Some(text) => head.push(text),
        None => {
            let title = shortened(&outline.headline(), 300);
            let facts = outline.facts.iter().map(|(name, value)| (*name, shortened(value, 200)));
            let facts: Vec<_> = facts.map(|(name, value)| format!("*{}:* {}", escape(name), escape(&value))).collect();
            let facts = facts.join("\n");
            let used = around + visible_length(&facts) + units(&title) + 16;
            let body = escape(&shortened(&outline.body, TEXT_LIMIT.saturating_sub(used)));
            head.insert(0, format!("*{}*", escape(&title)));
            match (body.is_empty(), outline.struck) {
                (true, _) => {}
                (false, true) => head.push(format!("~{body}~")),
                (false, false) => head.push(body),
            }
            head.push(facts);
        }
    }
    head.push(tail);
    head.join("\n")
}

/// What Telegram says of a message it will not edit.
const NOT_EDITABLE: [&str; 4] =
    ["message to edit not found", "can't be edited", "message_id_invalid", "message is too old"];

/// What was asked did not happen.
enum Refused {
    /// The message is as it should be already.
    Same,
    /// It cannot be edited (any more).
    NotEditable,
    /// Anything else.
    Failed(Failure),
}

impl Telegram {
    fn body(&self, outgoing: &Outgoing, place: Place) -> Value {
        json!({
            "chat_id": self.chat,
            "text": text(&self.templates, outgoing, place),
            "parse_mode": "MarkdownV2",
            "link_preview_options": { "is_disabled": true },
        })
    }

    async fn ask(&self, method: &'static str, body: &Value) -> Result<Value, Refused> {
        let mut url = self.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(&format!("bot{}", self.token)).push(method);
        }
        let answer = self.http.send(Request::json(Method::POST, url, body)).await.map_err(Refused::Failed)?;
        let said = answer.json();
        if answer.is_success() && said["ok"] != false {
            return Ok(said);
        }
        let description = said["description"].as_str().unwrap_or_default().to_lowercase();
        if description.contains("message is not modified") {
            return Err(Refused::Same);
        }
        if NOT_EDITABLE.iter().any(|word| description.contains(word)) {
            return Err(Refused::NotEditable);
        }
        let mut failure = self.http.refused(&self.place(), &answer);
        if let Some(seconds) = said["parameters"]["retry_after"].as_u64() {
            failure.retry = Retry::After(Duration::from_secs(seconds.min(3_600)));
        }
        Err(Refused::Failed(failure))
    }

    async fn post(&self, outgoing: &Outgoing) -> Result<Receipt, Failure> {
        let original = told(&outgoing.action).and_then(|told| told.receipt.0["message_id"].as_i64());
        if let Some(id) = original {
            let mut body = self.body(outgoing, Place::Instead);
            body["message_id"] = id.into();
            match self.ask("editMessageText", &body).await {
                Ok(_) | Err(Refused::Same) => return Ok(Receipt(json!({ "message_id": id }))),
                Err(Refused::NotEditable) => {}
                Err(Refused::Failed(failure)) => return Err(failure),
            }
        }
        let mut body = self.body(outgoing, Place::Beside);
        let first = outgoing.story.as_ref().and_then(|story| story.0["message_id"].as_i64());
        if let Some(id) = original.or(first) {
            body["reply_parameters"] = json!({ "message_id": id, "allow_sending_without_reply": true });
        }
        if let Some(thread) = self.thread {
            body["message_thread_id"] = thread.into();
        }
        let quiet = outgoing.message.severity() < self.silent_below && matches!(outgoing.action, Action::Tell);
        body["disable_notification"] = quiet.into();
        match self.ask("sendMessage", &body).await {
            Ok(said) => Ok(Receipt(json!({ "message_id": said["result"]["message_id"] }))),
            Err(Refused::Failed(failure)) => Err(failure),
            // Neither is said of a new message.
            Err(Refused::Same | Refused::NotEditable) => {
                Err(Failure { detail: format!("{} refused a new message", self.place()), retry: Retry::Never })
            }
        }
    }
}

impl Channel for Telegram {
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a> {
        Box::pin(self.post(outgoing))
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
    fn a_message_looks_like_this() {
        let link = ("link", "https://etherscan.io/tx/{{ fields.tx_hash }}");
        let templates = testing::templates(&[link], markdown_v2, None);
        let expected = "*\\[HIGH\\] Sandwich <of\\> 12\\.5 ETH*\nVictim paid 3\\.1% more & lost\n\
            *Severity:* high \\(4\\.0 of 5\\)\n*About:* 0xpool\n*Found:* profit 12\\.5 ETH\n*Why:* profit \\> 10 ETH\n\
            *Seen:* 2023\\-11\\-14T22:13:20Z\n*Block:* 18570000\n*Status:* active\n\
            [Open](https://etherscan.io/tx/0xab%2Fcd)\n`id key\\-1`";
        assert_eq!(text(&templates, &tell(fire()), Place::Beside), expected);
        let beside = text(&templates, &withdraw(fire()), Place::Beside);
        assert!(beside.contains("_Withdraws key\\-1: ") && beside.contains("~Victim paid"), "{beside}");
    }

    #[test]
    fn texts_are_measured_without_their_backslashes() {
        assert_eq!(visible_length("a\\.b\\\\😀"), 6);
        assert_eq!(visible_length("\\\\\\."), 2);
    }

    /// A reader of MarkdownV2 as strict as the Bot API: every special character is escaped, or one of the marks
    /// that the form itself writes; each mark is closed on its line or at least before the end.
    fn is_well_formed(text: &str) -> bool {
        let mut open: Vec<char> = Vec::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some(next) if next.is_ascii() && !next.is_ascii_control() => {}
                    _ => return false,
                },
                '*' | '_' | '~' | '`' => match open.last() {
                    Some(last) if *last == character => drop(open.pop()),
                    _ if open.contains(&character) => return false,
                    _ => open.push(character),
                },
                // A link of the form: its text is fixed, its address has no bracket.
                '[' => {
                    let rest: String = characters.by_ref().take_while(|next| *next != ')').collect();
                    if !rest.starts_with("Open](https://a.example/") || rest[6..].contains(['(', '\\', ' ']) {
                        return false;
                    }
                }
                '(' | ')' | ']' | '>' | '#' | '+' | '-' | '=' | '|' | '{' | '}' | '.' | '!' => return false,
                _ => {}
            }
        }
        open.is_empty()
    }

    proptest! {
        #[test]
        fn limits_are_kept_and_markup_is_whole(outgoing in testing::outgoing(), templated: bool, edit: bool) {
            let link = ("link", "https://a.example/{{ reason }}");
            let given = [("template", "*{{ title }}* {{ body }} _{{ why }}_"), link];
            let given = if templated { &given[..] } else { &[] };
            let templates = testing::templates(given, markdown_v2, None);
            let text = text(&templates, &outgoing, if edit { Place::Instead } else { Place::Beside });
            prop_assert!(!text.trim().is_empty() && visible_length(&text) <= TEXT_LIMIT);
            prop_assert!(is_well_formed(&text), "{}", text);
        }
    }
}
