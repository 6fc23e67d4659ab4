//! Notifications to test channels with, and a way to make their settings.

use highwater_engine::options::Options;
use proptest::prelude::*;
use serde_json::json;

use super::channel::{Action, Outgoing, Receipt, Told};
use super::template::Templates;
use super::text::Escape;
use super::{Kind, Message};

/// Texts that have been used to break out of the markup of some service.
pub(super) const HOSTILE: [&str; 14] = [
    "<!channel> <!here> <@U012> <http://evil.example|pay>",
    "@everyone @here <@&123>",
    "[x](javascript:alert(1)) ![i](http://evil.example/i.png)",
    "_*[]()~`>#+-=|{}.!\\",
    "</div><script>alert(1)</script>",
    "]]> <![CDATA[",
    "a\r\nBcc: victim@example.org\r\n\r\nbody",
    "{{ fields }} {% raw %} ${x}",
    "\u{202e}gnp.exe \u{0} \u{1b}[2J \u{7}",
    "```\ncode\n``` ||spoiler||",
    "&amp; & &lt;",
    "\\",
    "`",
    "😀👩‍👩‍👧‍👦é",
];

/// A short or huge, harmless or hostile text.
pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        prop::sample::select(HOSTILE.to_vec()).prop_map(str::to_owned),
        (prop::sample::select(HOSTILE.to_vec()), 1usize..600).prop_map(|(text, times)| text.repeat(times)),
    ]
}

/// Any notification and anything that is done with it.
pub(super) fn outgoing() -> impl Strategy<Value = Outgoing> {
    let kinds = prop::sample::select(vec![Kind::Fire, Kind::Escalate, Kind::Update, Kind::Resolve]);
    let severities = prop::sample::select(vec!["low", "medium", "high", "critical"]);
    let texts = (text(), text(), text(), text(), text(), text());
    (texts, kinds, severities, 0usize..4, any::<bool>()).prop_map(|(texts, kind, severity, action, threaded)| {
        let (title, body, reason, why, group_key, id) = texts;
        let fields = json!({ "tx_hash": reason, "note": body }).to_string();
        let message =
            Message { title, body, reason, why, group_key, kind, fields, severity: severity.into(), ..fire() };
        let told = Told { idempotency_key: id.clone(), receipt: Receipt::default() };
        let action = match action {
            0 => Action::Tell,
            1 => Action::Amend(told),
            2 => Action::Withdraw(told),
            _ => Action::Acknowledge,
        };
        let story = threaded.then(|| Receipt(json!({ "message_id": id, "subject": id, "id": id })));
        Outgoing { message, idempotency_key: id, action, story, sent_at_s: 1_700_000_100 }
    })
}

/// The first message of a story.
pub(super) fn fire() -> Message {
    Message {
        sink: "ops".into(),
        notification_id: "n1".into(),
        alert: "large_sandwich".into(),
        story_id: "large_sandwich/0xpool".into(),
        group_key: "0xpool".into(),
        kind: Kind::Fire,
        suppressed_by: None,
        suppressed: 0,
        revision: 1,
        status: "active".into(),
        severity: "high".into(),
        score: 4.0,
        confidence: Some(0.9),
        title: "Sandwich <of> 12.5 ETH".into(),
        body: "Victim paid 3.1% more & lost".into(),
        reason: "profit 12.5 ETH".into(),
        why: "profit > 10 ETH".into(),
        reasons: r#"["profit 12.5 ETH"]"#.into(),
        entities: r#"["0xbot"]"#.into(),
        entity_count: 1,
        occurrences: 1,
        opened_at_ms: 1_700_000_000_000,
        last_seen_at_ms: 1_700_000_000_000,
        notified_at_ms: 1_700_000_000_000,
        block_number: 18_570_000,
        fields: r#"{"tx_hash":"0xab/cd","profit":12.5}"#.into(),
    }
}

/// Telling it.
pub(super) fn tell(message: Message) -> Outgoing {
    Outgoing { message, idempotency_key: "key-1".into(), action: Action::Tell, story: None, sent_at_s: 1_700_000_100 }
}

/// Taking it back.
pub(super) fn withdraw(message: Message) -> Outgoing {
    let told = Told { idempotency_key: "key-1".into(), receipt: Receipt::default() };
    Outgoing { idempotency_key: "key-2".into(), action: Action::Withdraw(told), ..tell(message) }
}

/// Options of a sink.
pub(super) fn options(given: &[(&str, &str)]) -> Options {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options::new("sink \"ops\"", "/jobs", given)
}

/// Templates of a sink.
pub(super) fn templates(given: &[(&str, &str)], escape: Escape, title: Option<Escape>) -> Templates {
    Templates::take(&mut options(given), escape, title).unwrap()
}
