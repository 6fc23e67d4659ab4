//! How mails look.

use std::time::{Duration, SystemTime};

use highwater_engine::model::alert::Severity;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart};
use ring::digest;

use super::super::channel::{Failure, Outgoing, Receipt, Retry};
use super::super::outline::{Outline, Place, told};
use super::super::template::{Template, Templates};
use super::super::text::{escaped, html, one_line, shortened, units};

/// A line of a mail has at most 998 bytes (RFC 5322); subjects are folded, but nobody reads more than this.
const SUBJECT_LIMIT: usize = 200;

/// Mails beyond this are refused by some servers, and read by nobody.
const TEXT_LIMIT: usize = 100_000;

/// How mails look.
pub(super) struct Form {
    pub(super) from: Mailbox,
    pub(super) to: Mailboxes,
    pub(super) templates: Templates,
    pub(super) html: Option<Template>,
}

/// A mail, and what has to be known to answer it.
pub(super) struct Mail {
    pub(super) message: lettre::Message,
    pub(super) id: String,
    pub(super) subject: String,
}

impl Form {
    /// The mail that tells it.
    pub(super) fn mail(&self, outgoing: &Outgoing) -> Result<Mail, Failure> {
        let id = format!("<{}@{}>", hash(&outgoing.idempotency_key), self.from.email.domain());
        let subject = self.subject(outgoing);
        let sent_at = Duration::from_secs(u64::try_from(outgoing.sent_at_s).unwrap_or(0));
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .date(SystemTime::UNIX_EPOCH + sent_at)
            .message_id(Some(id.clone()))
            .subject(&subject);
        for receiver in self.to.iter() {
            builder = builder.to(receiver.clone());
        }
        let first = outgoing.story.as_ref().and_then(id_of);
        let original = told(&outgoing.action).and_then(|told| id_of(&told.receipt));
        if let Some(answered) = original.as_ref().or(first.as_ref()) {
            builder = builder.in_reply_to(answered.clone());
            let mut chain: Vec<_> = [&first, &original].into_iter().flatten().cloned().collect();
            chain.dedup();
            builder = builder.references(chain.join(" "));
        }
        builder = builder.raw_header(header("Auto-Submitted", "auto-generated"));
        if outgoing.message.severity() == Severity::Critical {
            builder = builder.raw_header(header("Importance", "high"));
        }
        let (text, html) = self.texts(outgoing);
        // Fixed by the id, so that a repetition is the same to the byte.
        let parts = MultiPart::alternative()
            .boundary(format!("=_{}", hash(&format!("boundary {}", outgoing.idempotency_key))))
            .singlepart(SinglePart::plain(text))
            .singlepart(SinglePart::html(html));
        let built = builder.multipart(parts);
        let wrong = |error| Failure { detail: format!("the mail cannot be written: {error}"), retry: Retry::Never };
        Ok(Mail { message: built.map_err(wrong)?, id, subject })
    }

    fn subject(&self, outgoing: &Outgoing) -> String {
        let fits = |text: &str| !text.trim().is_empty() && units(text) <= SUBJECT_LIMIT;
        if let Some(title) = self.templates.title.as_ref().and_then(|title| title.render(outgoing, fits)) {
            return one_line(&title);
        }
        match outgoing.story.as_ref().and_then(|story| story.0["subject"].as_str()) {
            Some(first) => shortened(&format!("Re: {}", one_line(first)), SUBJECT_LIMIT),
            None => shortened(&Outline::of(outgoing, Place::Beside).headline(), SUBJECT_LIMIT),
        }
    }

    /// The text and its form in HTML.
    fn texts(&self, outgoing: &Outgoing) -> (String, String) {
        let outline = Outline::of(outgoing, Place::Beside);
        let link = self.templates.link(outgoing);
        let fits = |text: &str| !text.trim().is_empty() && text.len() <= TEXT_LIMIT;
        let template = self.templates.text.as_ref().and_then(|text| text.render(outgoing, fits));
        let templated = template.is_some();
        let mut text = template.unwrap_or_else(|| {
            let headline = shortened(&outline.headline(), 1_000);
            format!("{headline}\n\n{}", shortened(&outline.details(), TEXT_LIMIT))
        });
        let page = match self.html.as_ref().and_then(|html| html.render(outgoing, fits)) {
            Some(page) => page,
            None if templated => paragraph(&text, link.as_deref()),
            None => page(&outline, link.as_deref()),
        };
        if let Some(link) = link {
            text.push_str("\n\n");
            text.push_str(&link);
        }
        (text, page)
    }
}

fn anchor(link: Option<&str>) -> String {
    link.map(|link| format!("<p><a href=\"{}\">Open</a></p>", escaped(link, html))).unwrap_or_default()
}

fn paragraph(text: &str, link: Option<&str>) -> String {
    format!(
        "<html><body><div style=\"white-space:pre-wrap\">{}</div>{}</body></html>",
        escaped(text, html),
        anchor(link)
    )
}

fn page(outline: &Outline, link: Option<&str>) -> String {
    let value = |text: &str, limit| escaped(&shortened(text, limit), html);
    let note = outline.note.as_deref().map(|note| format!("<p><b>{}</b></p>", value(note, 1_000)));
    let (open, close) = if outline.struck { ("<s>", "</s>") } else { ("", "") };
    let rows = outline.facts.iter().map(|(name, text)| {
        format!("<tr><td style=\"color:#666;padding-right:1em\">{name}</td><td>{}</td></tr>", value(text, 4_000))
    });
    format!(
        "<html><body><h2>{}</h2>{}<div style=\"white-space:pre-wrap\">{open}{}{close}</div><table>{}</table>{}\
         <p style=\"color:#999\">{}</p></body></html>",
        value(&outline.headline(), 1_000),
        note.unwrap_or_default(),
        value(&outline.body, TEXT_LIMIT),
        rows.collect::<String>(),
        anchor(link),
        value(&outline.id, 1_000),
    )
}

fn hash(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}

/// The id of a mail of ours, and nothing else: it becomes a part of a header.
fn id_of(receipt: &Receipt) -> Option<String> {
    let id = receipt.0["message_id"].as_str()?;
    let is_ours =
        id.starts_with('<') && id.ends_with('>') && id.len() <= 400 && id.chars().all(|c| c.is_ascii_graphic());
    is_ours.then(|| id.to_owned())
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::super::testing::{self, fire, tell, withdraw};
    use super::super::super::text::plain;
    use super::*;

    fn form(given: &[(&str, &str)]) -> Form {
        Form {
            from: "Highwater <alerts@example.org>".parse().unwrap(),
            to: "ops@example.org, Ann <ann@example.org>".parse().unwrap(),
            templates: testing::templates(given, plain, Some(plain)),
            html: None,
        }
    }

    fn written(form: &Form, outgoing: &Outgoing) -> String {
        String::from_utf8(form.mail(outgoing).unwrap().message.formatted()).unwrap()
    }

    #[test]
    fn a_mail_looks_like_this() {
        let form = form(&[("link", "https://etherscan.io/tx/{{ fields.tx_hash }}")]);
        let mail = written(&form, &tell(fire()));
        assert_eq!(mail.replace("\r\n", "\n"), include_str!("../../../tests/mail.txt"));
        assert_eq!(mail, written(&form, &tell(fire())), "a repetition is the same to the byte");
    }

    #[test]
    fn mails_of_a_story_are_a_thread() {
        let form = form(&[]);
        let first = form.mail(&tell(fire())).unwrap();
        let receipt = Receipt(json!({ "message_id": first.id, "subject": first.subject }));
        let mut later = withdraw(fire());
        later.story = Some(receipt);
        let mail = written(&form, &later);
        assert!(mail.contains(&format!("\r\nIn-Reply-To: {}\r\n", first.id)), "{mail}");
        assert!(mail.contains(&format!("\r\nReferences: {}\r\n", first.id)), "{mail}");
        assert!(mail.contains("\r\nSubject: Re: [HIGH] Sandwich <of> 12.5 ETH\r\n"), "{mail}");
        assert!(mail.contains("Withdraws key-1"), "{mail}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_becomes_a_header(outgoing in testing::outgoing(), titled: bool) {
            let given: &[(&str, &str)] = if titled { &[("title", "{{ title }}")] } else { &[] };
            let mail = written(&form(given), &outgoing);
            let (head, _) = mail.split_once("\r\n\r\n").unwrap();
            let known = ["From", "Date", "Message-ID", "Subject", "To", "In-Reply-To", "References", "Auto-Submitted",
                "Importance", "MIME-Version", "Content-Type"];
            for line in head.split("\r\n") {
                prop_assert!(line.len() <= 998 && line.is_ascii() && !line.contains(['\r', '\n']));
                let name = line.split(':').next().unwrap();
                prop_assert!(line.starts_with([' ', '\t']) || known.contains(&name), "{}", line);
            }
            prop_assert_eq!(head.matches("\r\nTo:").count(), 1);
            let (_, page) = form(given).texts(&outgoing);
            prop_assert!(!page.contains("<script>") && page.matches("</div>").count() == 1);
        }
    }
}
