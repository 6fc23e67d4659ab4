//! Discord, Telegram, PagerDuty, Opsgenie, Alertmanager: requests and answers.

use std::time::Duration;

use highwater_sinks::alert::Kind;
use highwater_sinks::alert::alertmanager::ALERTMANAGER;
use highwater_sinks::alert::channel::{Action, Channel, Receipt, Retry};
use highwater_sinks::alert::discord::DISCORD;
use highwater_sinks::alert::opsgenie::OPSGENIE;
use highwater_sinks::alert::pagerduty::PAGERDUTY;
use highwater_sinks::alert::telegram::TELEGRAM;
use serde_json::json;

use crate::server::{Reply, Server};
use crate::world::{amend, channel, deliver, tell, withdraw};

fn discord(server: &Server) -> Box<dyn Channel> {
    let url = server.url("/api/webhooks/1/s3cret-token?thread_id=5");
    channel(&DISCORD, &[("url", &url), ("username", "Highwater"), ("allow_private", "true")])
}

#[test]
fn discord_posts_and_edits() {
    let posted: Reply = (200, "", r#"{"id":"77"}"#);
    let server = Server::start(&[posted, posted]);
    let hook = discord(&server);
    let first = deliver(&*hook, &tell(Kind::Fire, None)).unwrap();
    assert_eq!(first, Receipt(json!({ "id": "77" })));
    deliver(&*hook, &withdraw(&first, &first)).unwrap();
    let got = server.next();
    assert_eq!(got.line, "POST /api/webhooks/1/s3cret-token?thread_id=5&wait=true");
    assert_eq!(got.body["username"], "Highwater");
    assert_eq!(got.body["allowed_mentions"], json!({ "parse": [] }));
    let edit = server.next();
    assert_eq!(edit.line, "PATCH /api/webhooks/1/s3cret-token/messages/77?thread_id=5");
    assert!(edit.body["embeds"][0]["title"].as_str().unwrap().starts_with("\\[WITHDRAWN\\]"));
    assert_eq!(edit.body["embeds"][0]["footer"]["text"], "id key-1");
}

#[test]
fn a_discord_message_that_is_gone_gets_a_follow_up() {
    let gone = (404, "", r#"{"message":"Unknown Message","code":10008}"#);
    let server = Server::start(&[gone, (200, "", r#"{"id":"78"}"#)]);
    let first = Receipt(json!({ "id": "77" }));
    let told = deliver(&*discord(&server), &amend(&first, &first)).unwrap();
    assert_eq!(told, Receipt(json!({ "id": "78" })));
    server.next();
    assert!(server.next().body.to_string().contains("Corrects key\\\\-1"));
}

#[test]
fn answers_of_discord() {
    let limited = r#"{"message":"You are being rate limited.","retry_after":0.35,"global":false}"#;
    let cases: [(Reply, Retry); 4] = [
        ((429, "Retry-After: 1\r\n", limited), Retry::After(Duration::from_millis(350))),
        ((404, "", r#"{"message":"Unknown Webhook","code":10015}"#), Retry::Never),
        ((400, "", "{}"), Retry::Never),
        ((502, "", ""), Retry::Backoff),
    ];
    for (reply, retry) in cases {
        let server = Server::start(&[reply]);
        assert_eq!(deliver(&*discord(&server), &tell(Kind::Fire, None)).unwrap_err().retry, retry);
    }
}

fn telegram(server: &Server) -> Box<dyn Channel> {
    let api = server.url("");
    let given = [
        ("token", "123456:s3cret-token"),
        ("chat_id", "-100123"),
        ("thread_id", "7"),
        ("silent_below", "critical"),
        ("api_url", &api),
        ("allow_private", "true"),
    ];
    channel(&TELEGRAM, &given)
}

#[test]
fn telegram_replies_and_edits() {
    let sent = (200, "", r#"{"ok":true,"result":{"message_id":42}}"#);
    let same = (400, "", r#"{"ok":false,"description":"Bad Request: message is not modified: specified new …"}"#);
    let gone = (400, "", r#"{"ok":false,"description":"Bad Request: message to edit not found"}"#);
    let server = Server::start(&[sent, sent, sent, same, gone, sent]);
    let bot = telegram(&server);
    let first = deliver(&*bot, &tell(Kind::Fire, None)).unwrap();
    assert_eq!(first, Receipt(json!({ "message_id": 42 })));
    let got = server.next();
    assert_eq!(got.line, "POST /bot123456:s3cret-token/sendMessage");
    let of = |name: &str| got.body[name].clone();
    assert_eq!((of("chat_id"), of("parse_mode")), (json!(-100_123), json!("MarkdownV2")));
    assert_eq!((of("message_thread_id"), of("disable_notification")), (json!(7), json!(true)));
    deliver(&*bot, &tell(Kind::Update, Some(&first))).unwrap();
    let reply = json!({ "message_id": 42, "allow_sending_without_reply": true });
    assert_eq!(server.next().body["reply_parameters"], reply);
    deliver(&*bot, &amend(&first, &first)).unwrap();
    let edit = server.next();
    assert_eq!(edit.line, "POST /bot123456:s3cret-token/editMessageText");
    assert_eq!(edit.body["message_id"], 42);
    deliver(&*bot, &amend(&first, &first)).unwrap();
    server.next();
    deliver(&*bot, &withdraw(&first, &first)).unwrap();
    server.next();
    let follow_up = server.next();
    assert_eq!(follow_up.line, "POST /bot123456:s3cret-token/sendMessage");
    assert_eq!(follow_up.body["reply_parameters"], reply);
    assert!(follow_up.body["text"].as_str().unwrap().contains("Withdraws key\\-1"));
}

#[test]
fn answers_of_telegram() {
    let limited = r#"{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":9}}"#;
    let cases: [(Reply, Retry); 4] = [
        ((429, "", limited), Retry::After(Duration::from_secs(9))),
        ((403, "", r#"{"ok":false,"description":"Forbidden: bot was blocked by the user"}"#), Retry::Never),
        ((401, "", r#"{"ok":false,"description":"Unauthorized"}"#), Retry::Never),
        ((500, "", ""), Retry::Backoff),
    ];
    for (reply, retry) in cases {
        let server = Server::start(&[reply]);
        assert_eq!(deliver(&*telegram(&server), &tell(Kind::Fire, None)).unwrap_err().retry, retry);
    }
}

#[test]
fn pagerduty_triggers_and_resolves() {
    let taken = (202, "", r#"{"status":"success","dedup_key":"x"}"#);
    let server = Server::start(&[taken, taken, (429, "", "")]);
    let api = server.url("");
    let given = [("routing_key", "s3cret-routing-key"), ("api_url", &*api), ("allow_private", "true")];
    let pager = channel(&PAGERDUTY, &given);
    let first = deliver(&*pager, &tell(Kind::Fire, None)).unwrap();
    deliver(&*pager, &withdraw(&first, &first)).unwrap();
    let failure = deliver(&*pager, &tell(Kind::Fire, None)).unwrap_err();
    assert_eq!(failure.retry, Retry::NotTaken);
    let (trigger, resolve) = (server.next(), server.next());
    assert_eq!(trigger.line, "POST /v2/enqueue");
    assert_eq!(
        (&trigger.body["event_action"], &trigger.body["payload"]["severity"]),
        (&json!("trigger"), &json!("error"))
    );
    assert_eq!(resolve.body["event_action"], "resolve");
    assert_eq!(trigger.body["dedup_key"], resolve.body["dedup_key"]);
    let note = resolve.body["payload"]["custom_details"]["note"].as_str().unwrap().to_owned();
    assert!(note.starts_with("Withdraws key-1"), "{note}");
}

#[test]
fn opsgenie_creates_acknowledges_and_closes() {
    let taken = (202, "", r#"{"result":"Request will be processed","requestId":"r1"}"#);
    let server = Server::start(&[taken, taken, taken, taken, (403, "", "{}")]);
    let api = server.url("");
    let given =
        [("api_key", "s3cret-genie-key"), ("api_url", &*api), ("tags", "chain, eth"), ("allow_private", "true")];
    let genie = channel(&OPSGENIE, &given);
    let first = deliver(&*genie, &tell(Kind::Fire, None)).unwrap();
    let created = server.next();
    assert_eq!(created.line, "POST /v2/alerts");
    assert!(created.headers.contains("authorization: GenieKey s3cret-genie-key\n"));
    assert_eq!((&created.body["priority"], &created.body["tags"]), (&json!("P2"), &json!(["chain", "eth"])));
    let alias = created.body["alias"].as_str().unwrap().to_owned();
    let acknowledge =
        highwater_sinks::alert::channel::Outgoing { action: Action::Acknowledge, ..tell(Kind::Fire, Some(&first)) };
    deliver(&*genie, &acknowledge).unwrap();
    assert_eq!(server.next().line, format!("POST /v2/alerts/{alias}/acknowledge?identifierType=alias"));
    deliver(&*genie, &tell(Kind::Resolve, Some(&first))).unwrap();
    assert_eq!(server.next().line, format!("POST /v2/alerts/{alias}/close?identifierType=alias"));
    deliver(&*genie, &withdraw(&first, &first)).unwrap();
    assert!(server.next().body["note"].as_str().unwrap().contains("Withdraws key-1"));
    assert_eq!(deliver(&*genie, &tell(Kind::Fire, None)).unwrap_err().retry, Retry::Never);
}

#[test]
fn alertmanager_gets_all_severities() {
    let server = Server::start(&[(200, "", ""), (400, "", r#""start time must be before end time""#)]);
    let url = server.url("/am/");
    let manager = channel(&ALERTMANAGER, &[("url", &url), ("labels", "team=ops"), ("allow_private", "true")]);
    deliver(&*manager, &tell(Kind::Fire, None)).unwrap();
    let got = server.next();
    assert_eq!(got.line, "POST /am/api/v2/alerts");
    let severities: Vec<_> = got.body.as_array().unwrap().iter().map(|alert| &alert["labels"]["severity"]).collect();
    assert_eq!(severities, ["low", "medium", "high", "critical"]);
    assert_eq!(got.body[0]["labels"]["team"], "ops");
    assert_eq!(deliver(&*manager, &tell(Kind::Fire, None)).unwrap_err().retry, Retry::Never);
}
