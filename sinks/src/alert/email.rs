//! `email`: mails over SMTP, a thread for each story.
//!
//! A mail cannot be edited, so corrections answer the mail that they correct. The `Message-ID` is made of the
//! idempotency key: a mail that is sent twice is shown once by most readers. `References` and `In-Reply-To` name
//! the first mail of the story, and as some readers also want equal subjects, later mails have that of the first
//! behind `Re:`. `Auto-Submitted: auto-generated` (RFC 3834) keeps holiday notices away.

use std::time::{Duration, SystemTime};

use highwater_engine::error::chain;
use highwater_engine::model::alert::Severity;
use highwater_engine::options::{OptionDoc, OptionError, Options};
use highwater_engine::sink::{SinkError, SinkRequest};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use ring::digest;
use serde_json::json;

use super::channel::{Channel, Delivering, Failure, Outgoing, Receipt, Retry};
use super::connector::{AlertConnector, joined, length};
use super::outline::{Outline, Place, told};
use super::secrets::Secrets;
use super::settings;
use super::template::{self, Template, Templates};
use super::text::{escaped, html, one_line, plain, shortened, units};

const OWN: &[OptionDoc] = &[
    OptionDoc { name: "host", kind: "text", default: "required", doc: "The mail server.", example: "smtp.example.org" },
    OptionDoc {
        name: "port",
        kind: "integer",
        default: "587; 465 with tls = 'implicit', 25 with 'none'",
        doc: "Its port.",
        example: "2525",
    },
    OptionDoc {
        name: "tls",
        kind: "'starttls', 'implicit' or 'none'",
        default: "starttls",
        doc: "How the connection is secured; a server that does not offer it is not used.",
        example: "implicit",
    },
    OptionDoc { name: "user", kind: "text", default: "none", doc: "The account.", example: "alerts@example.org" },
    OptionDoc {
        name: "password",
        kind: "text (secret)",
        default: "required with user",
        doc: "Its password; never sent without TLS but to this machine.",
        example: "…",
    },
    OptionDoc {
        name: "from",
        kind: "mail address",
        default: "required",
        doc: "The sender.",
        example: "Highwater <alerts@example.org>",
    },
    OptionDoc {
        name: "to",
        kind: "mail addresses, separated by commas",
        default: "required",
        doc: "The receivers.",
        example: "ops@example.org, Ann <ann@example.org>",
    },
    template::TITLE,
    template::TEMPLATE,
    OptionDoc {
        name: "html",
        kind: "Jinja template",
        default: "the text as HTML",
        doc: "The HTML part: HTML around values of the notification, which are escaped.",
        example: "<h1>{{ title }}</h1><p>{{ body }}</p>",
    },
    template::LINK,
    OptionDoc {
        name: "timeout",
        kind: "duration",
        default: "30 seconds",
        doc: "How long the server may take for each step.",
        example: "10 seconds",
    },
];

const LISTS: &[&[OptionDoc]] = &[OWN, settings::OPTIONS];

/// The `email` connector.
pub const EMAIL: AlertConnector = AlertConnector {
    name: "email",
    about: "Notifications of an alert as mails over SMTP, a thread for each story.",
    options: &joined::<{ length(LISTS) }>(LISTS),
    make,
};

/// A line of a mail has at most 998 bytes (RFC 5322); subjects are folded, but nobody reads more than this.
const SUBJECT_LIMIT: usize = 200;

/// Mails beyond this are refused by some servers, and read by nobody.
const TEXT_LIMIT: usize = 100_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Security {
    StartTls,
    Implicit,
    None,
}

fn make(_: &SinkRequest, options: &mut Options) -> Result<Box<dyn Channel>, SinkError> {
    let mut secrets = Secrets::new();
    let host = options.require_str("host")?.trim().to_owned();
    let (transport, port) = transport(options, &host, &mut secrets)?;
    let from = options.require_str("from")?;
    let from: Mailbox =
        from.trim().parse().map_err(|_| options.invalid("from", from, "a mail address such as alerts@example.org"))?;
    let to = options.require_str("to")?;
    let expected = "a list of mail addresses, separated by commas";
    let to: Mailboxes = to.trim().parse().map_err(|_| options.invalid("to", to.clone(), expected))?;
    if to.iter().next().is_none() {
        return Err(options.invalid("to", "", expected).into());
    }
    let templates = Templates::take(options, plain, Some(plain))?;
    let html = Template::take(options, "html", html)?;
    let helo = ClientId::Domain(from.email.domain().to_owned());
    let transport = transport.hello_name(helo).build();
    Ok(Box::new(Email {
        place: format!("{host}:{port}"),
        form: Form { from, to, templates, html },
        transport,
        secrets,
    }))
}

fn transport(
    options: &mut Options,
    host: &str,
    secrets: &mut Secrets,
) -> Result<(smtp::AsyncSmtpTransportBuilder, u16), OptionError> {
    let words = [("starttls", Security::StartTls), ("implicit", Security::Implicit), ("none", Security::None)];
    let security = options.take_choice("tls", &words)?.unwrap_or(Security::StartTls);
    let port =
        options.take_with("port", "a port from 1 to 65535", |text| text.parse().ok().filter(|port| *port > 0))?;
    let port = port.unwrap_or(match security {
        Security::StartTls => 587,
        Security::Implicit => 465,
        Security::None => 25,
    });
    let parameters = || {
        let expected = "a host name that a certificate can be made for";
        TlsParameters::new_rustls(host.to_owned()).map_err(|_| options.invalid("host", host, expected))
    };
    let tls = match security {
        Security::StartTls => Tls::Required(parameters()?),
        Security::Implicit => Tls::Wrapper(parameters()?),
        Security::None => Tls::None,
    };
    let timeout = options.take_duration("timeout")?.unwrap_or(Duration::from_secs(30));
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host.to_owned())
        .port(port)
        .tls(tls)
        .timeout(Some(timeout));
    let (user, password) = (options.take_str("user"), options.take_str("password"));
    match (user, password) {
        (Some(user), Some(password)) => {
            if security == Security::None && !is_this_machine(host) {
                return Err(options.invalid("tls", "none", "'starttls' or 'implicit' where a password is sent"));
            }
            secrets.add(&password);
            transport = transport.credentials(Credentials::new(user, password));
        }
        (None, None) => {}
        (Some(_), None) => return Err(options.invalid("user", "…", "used without password")),
        (None, Some(_)) => return Err(options.invalid("password", "…", "used without user")),
    }
    Ok((transport, port))
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// How mails look.
struct Form {
    from: Mailbox,
    to: Mailboxes,
    templates: Templates,
    html: Option<Template>,
}

/// A mail, and what has to be known to answer it.
struct Mail {
    message: lettre::Message,
    id: String,
    subject: String,
}

impl Form {
    fn mail(&self, outgoing: &Outgoing) -> Result<Mail, Failure> {
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

fn id_of(receipt: &Receipt) -> Option<String> {
    receipt.0["message_id"].as_str().map(one_line).filter(|id| !id.is_empty())
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

struct Email {
    place: String,
    form: Form,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    secrets: Secrets,
}

impl Email {
    fn failure(&self, error: &smtp::Error) -> Failure {
        // 5xx is for good, 4xx is not (RFC 5321, section 4.2.1); whether the network failed before or after the
        // mail was taken is not known.
        let retry = match (error.is_permanent(), error.is_transient()) {
            (true, _) => Retry::Never,
            (_, true) => Retry::NotTaken,
            _ => Retry::Backoff,
        };
        Failure {
            detail: format!("sending mail by {} failed: {}", self.place, self.secrets.hide(&chain(error))),
            retry,
        }
    }
}

impl Channel for Email {
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a> {
        Box::pin(async move {
            let mail = self.form.mail(outgoing)?;
            self.transport.send(mail.message).await.map_err(|error| self.failure(&error))?;
            Ok(Receipt(json!({ "message_id": mail.id, "subject": mail.subject })))
        })
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{self, fire, tell, withdraw};
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
        assert_eq!(mail.replace("\r\n", "\n"), include_str!("../../tests/mail.txt"));
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

    #[test]
    fn passwords_are_not_sent_in_the_clear() {
        let refused = |given: &[(&str, &str)], host: &str| {
            transport(&mut testing::options(given), host, &mut Secrets::new()).err().map(|error| error.to_string())
        };
        let account = [("tls", "none"), ("user", "u"), ("password", "pass-word")];
        assert!(refused(&account, "mail.example.org").unwrap().contains("starttls"));
        assert_eq!(refused(&account, "127.0.0.1"), None);
        assert!(refused(&[("user", "u")], "localhost").unwrap().contains("without password"));
        assert!(!refused(&[("password", "pass-word")], "localhost").unwrap().contains("pass-word"));
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
