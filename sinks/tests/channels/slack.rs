//! Slack: threads, edits, refusals.

use std::time::Duration;

use highwater_sinks::alert::Kind;
use highwater_sinks::alert::channel::{Channel, Receipt, Retry};
use highwater_sinks::alert::slack::SLACK;
use serde_json::json;

use crate::server::{Reply, Server};
use crate::world::{amend, channel, deliver, tell, withdraw};

const POSTED: Reply = (200, "", r#"{"ok":true,"channel":"C9","ts":"17.01"}"#);

fn bot(server: &Server) -> Box<dyn Channel> {
    let api = server.url("/api");
    let given = [("token", "xoxb-s3cret-token"), ("channel", "ops"), ("api_url", &api), ("allow_private", "true")];
    channel(&SLACK, &given)
}

fn receipt(ts: &str) -> Receipt {
    Receipt(json!({ "channel": "C9", "ts": ts }))
}

#[test]
fn a_webhook_posts_and_says_what_it_corrects() {
    let server = Server::start(&[(200, "", "ok"), (200, "", "ok")]);
    let url = server.url("/services/T0/B0/s3cret-path");
    let hook = channel(&SLACK, &[("url", &url), ("allow_private", "true")]);
    let first = deliver(&*hook, &tell(Kind::Fire, None)).unwrap();
    deliver(&*hook, &withdraw(&first, &first)).unwrap();
    let got = server.next();
    assert_eq!(got.line, "POST /services/T0/B0/s3cret-path");
    assert_eq!(got.body["blocks"][0]["text"]["text"], "[HIGH] Sandwich of 12.5 ETH! <!channel> @everyone");
    assert!(!got.body["text"].as_str().unwrap().contains("<!"));
    assert!(server.next().body.to_string().contains("Withdraws key-1"));
}

#[test]
fn answers_of_webhooks() {
    let cases: [(Reply, Retry); 6] = [
        ((404, "", "no_service"), Retry::Never),
        ((410, "", "channel_is_archived"), Retry::Never),
        ((403, "", "invalid_token"), Retry::Never),
        ((400, "", "invalid_blocks"), Retry::Never),
        ((500, "", "rollup_error"), Retry::Backoff),
        ((429, "Retry-After: 7\r\n", ""), Retry::After(Duration::from_secs(7))),
    ];
    for (reply, retry) in cases {
        let server = Server::start(&[reply]);
        let url = server.url("/services/T0/B0/s3cret-path");
        let hook = channel(&SLACK, &[("url", &url), ("allow_private", "true")]);
        let failure = deliver(&*hook, &tell(Kind::Fire, None)).unwrap_err();
        assert_eq!(failure.retry, retry, "{failure}");
        assert!(failure.detail.contains(reply.2) && !failure.detail.contains("s3cret"), "{failure}");
    }
}

#[test]
fn a_bot_makes_a_thread_and_keeps_its_root_up_to_date() {
    let server = Server::start(&[POSTED, (200, "", r#"{"ok":true,"channel":"C9","ts":"17.02"}"#), POSTED]);
    let bot = bot(&server);
    let root = deliver(&*bot, &tell(Kind::Fire, None)).unwrap();
    assert_eq!(root, receipt("17.01"));
    assert_eq!(deliver(&*bot, &tell(Kind::Escalate, Some(&root))).unwrap(), receipt("17.02"));
    let got = server.next();
    assert_eq!(got.line, "POST /api/chat.postMessage");
    assert!(got.headers.contains("authorization: Bearer xoxb-s3cret-token\n"));
    assert_eq!((&got.body["channel"], &got.body["thread_ts"]), (&json!("ops"), &json!(null)));
    let reply = server.next();
    assert_eq!((&reply.body["thread_ts"], &reply.body["reply_broadcast"]), (&json!("17.01"), &json!(true)));
    let root = server.next();
    assert_eq!(root.line, "POST /api/chat.update");
    assert_eq!((&root.body["channel"], &root.body["ts"]), (&json!("C9"), &json!("17.01")));
    assert!(root.body["text"].as_str().unwrap().starts_with("[NOW HIGH]"));
}

#[test]
fn corrections_edit_and_else_follow_up() {
    let server = Server::start(&[POSTED, POSTED, POSTED]);
    let bot1 = bot(&server);
    // The root itself: one edit.
    assert_eq!(deliver(&*bot1, &amend(&receipt("17.01"), &receipt("17.01"))).unwrap(), receipt("17.01"));
    assert!(server.next().body["text"].as_str().unwrap().starts_with("[CORRECTED, HIGH]"));
    // A reply: an edit, and the root says that its last news is gone.
    deliver(&*bot1, &withdraw(&receipt("17.02"), &receipt("17.01"))).unwrap();
    assert_eq!(server.next().body["ts"], "17.02");
    let root = server.next();
    assert_eq!(root.body["ts"], "17.01");
    assert!(root.body["blocks"][1].to_string().contains("see the thread"));

    let refused = (200, "", r#"{"ok":false,"error":"edit_window_closed"}"#);
    let server = Server::start(&[refused, (200, "", r#"{"ok":true,"channel":"C9","ts":"17.03"}"#), POSTED]);
    let told = deliver(&*bot(&server), &withdraw(&receipt("17.01"), &receipt("17.01"))).unwrap();
    assert_eq!(told, receipt("17.03"));
    server.next();
    let follow_up = server.next();
    assert_eq!(follow_up.line, "POST /api/chat.postMessage");
    assert_eq!(follow_up.body["thread_ts"], "17.01");
    assert!(follow_up.body.to_string().contains("Withdraws key-1"));
}

#[test]
fn refusals_of_the_api() {
    let cases: [(Reply, Retry); 6] = [
        ((200, "Retry-After: 3\r\n", r#"{"ok":false,"error":"ratelimited"}"#), Retry::After(Duration::from_secs(3))),
        ((429, "Retry-After: 3\r\n", r#"{"ok":false,"error":"ratelimited"}"#), Retry::After(Duration::from_secs(3))),
        ((200, "", r#"{"ok":false,"error":"invalid_auth"}"#), Retry::Never),
        ((200, "", r#"{"ok":false,"error":"channel_not_found"}"#), Retry::Never),
        ((200, "", r#"{"ok":false,"error":"internal_error"}"#), Retry::Backoff),
        ((200, "", "<html>"), Retry::Backoff),
    ];
    for (reply, retry) in cases {
        let server = Server::start(&[reply]);
        let failure = deliver(&*bot(&server), &tell(Kind::Fire, None)).unwrap_err();
        assert_eq!(failure.retry, retry, "{failure}");
    }
}

/// The news is told once, even if its second step fails.
#[test]
fn a_root_that_stays_behind_is_no_failure() {
    let server = Server::start(&[POSTED, (500, "", "")]);
    deliver(&*bot(&server), &tell(Kind::Update, Some(&receipt("17.01")))).unwrap();
}
