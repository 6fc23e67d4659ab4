//! `email`: mails over SMTP, a thread for each story.
//!
//! A mail cannot be edited, so corrections answer the mail that they correct. The `Message-ID` is made of the
//! idempotency key: a mail that is sent twice is shown once by most readers. `References` and `In-Reply-To` name
//! the first mail of the story, and as some readers also want equal subjects, later mails have that of the first
//! behind `Re:`. `Auto-Submitted: auto-generated` (RFC 3834) keeps holiday notices away.

mod mail;

use std::time::Duration;

use highwater_engine::error::chain;
use highwater_engine::options::{OptionDoc, OptionError, Options};
use highwater_engine::sink::{SinkError, SinkRequest};
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde_json::json;

use self::mail::Form;
use super::channel::{Channel, Delivering, Failure, Outgoing, Receipt, Retry};
use super::connector::{AlertConnector, joined, length};
use super::secrets::Secrets;
use super::settings;
use super::template::{self, Template, Templates};
use super::text::{html, plain};

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
        doc: "How long one mail may take, connecting included.",
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
    let timeout = options.take_duration("timeout")?.unwrap_or(Duration::from_secs(30));
    let transport = transport.hello_name(helo).timeout(Some(timeout)).build();
    let form = Form { from, to, templates, html };
    Ok(Box::new(Email { place: format!("{host}:{port}"), form, transport, secrets, timeout }))
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
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host.to_owned()).port(port).tls(tls);
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

struct Email {
    place: String,
    form: Form,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    secrets: Secrets,
    timeout: Duration,
}

impl Email {
    fn late(&self) -> Failure {
        let detail = format!("{} did not take the mail within {} ms", self.place, self.timeout.as_millis());
        Failure { detail, retry: Retry::Backoff }
    }

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
            // The library bounds only the time of connecting.
            match tokio::time::timeout(self.timeout, self.transport.send(mail.message)).await {
                Ok(sent) => sent.map_err(|error| self.failure(&error))?,
                Err(_) => return Err(self.late()),
            };
            Ok(Receipt(json!({ "message_id": mail.id, "subject": mail.subject })))
        })
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

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
}
