//! Mail against a scripted SMTP server.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use highwater_sinks::alert::Kind;
use highwater_sinks::alert::channel::Retry;
use highwater_sinks::alert::email::EMAIL;

use crate::world::{deliver, tell};

/// Answers one session: `faults` are commands and what is said to them instead of yes. Gives the port, and what
/// was said to the server once the session is over.
pub(crate) fn server(faults: &'static [(&'static str, &'static str)]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (sender, said) = channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut all = String::new();
        let (mut in_data, mut reply) = (false, "220 test");
        loop {
            if !reply.is_empty() && stream.write_all(format!("{reply}\r\n").as_bytes()).is_err() {
                break;
            }
            let Some(Ok(line)) = lines.next() else { break };
            all.push_str(&line);
            all.push('\n');
            let word = if in_data { "." } else { line.split([' ', ':']).next().unwrap_or_default() };
            let fault =
                faults.iter().find(|(command, _)| *command == word && (!in_data || line == ".")).map(|(_, said)| *said);
            reply = match word {
                "." if line != "." => "",
                "EHLO" => "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
                "DATA" if fault.is_none() => "354 go on",
                "AUTH" => "235 welcome",
                "QUIT" => "221 bye",
                _ => "250 yes",
            };
            in_data = (in_data && line != ".") || reply == "354 go on";
            reply = fault.unwrap_or(reply);
        }
        let _ = sender.send(all);
    });
    (port, said)
}

fn given<'a>(port: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut given = vec![("host", "127.0.0.1"), ("port", port), ("tls", "none"), ("timeout", "5 s")];
    given.extend([("from", "alerts@example.org"), ("to", "ops@example.org, Ann <ann@example.org>")]);
    given.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    given.extend(more);
    given
}

#[test]
fn a_mail_is_sent_to_all() {
    let (port, said) = server(&[]);
    let account = [("user", "me@example.org"), ("password", "s3cret-password")];
    let email = crate::world::channel(&EMAIL, &given(&port, &account));
    let receipt = deliver(&*email, &tell(Kind::Fire, None)).unwrap();
    let said = said.recv().unwrap();
    assert!(said.starts_with("EHLO example.org\n"), "{said}");
    assert!(said.contains("RCPT TO:<ops@example.org>") && said.contains("RCPT TO:<ann@example.org>"), "{said}");
    assert!(said.contains(&format!("Message-ID: {}\n", receipt.0["message_id"].as_str().unwrap())), "{said}");
    assert_eq!(email.place(), format!("127.0.0.1:{port}"));
}

#[test]
fn answers_say_whether_to_try_again() {
    type Case = (&'static [(&'static str, &'static str)], Retry);
    let cases: [Case; 5] = [
        (&[("RCPT", "550 no such user")], Retry::Never),
        (&[("MAIL", "554 refused")], Retry::Never),
        (&[("RCPT", "452 mailbox full")], Retry::NotTaken),
        (&[(".", "451 try later")], Retry::NotTaken),
        (&[("AUTH", "535 wrong s3cret-password")], Retry::Never),
    ];
    for (faults, retry) in cases {
        let (port, _said) = server(faults);
        let account = [("user", "me@example.org"), ("password", "s3cret-password")];
        let email = crate::world::channel(&EMAIL, &given(&port, &account));
        let failure = deliver(&*email, &tell(Kind::Fire, None)).unwrap_err();
        assert_eq!(failure.retry, retry, "{failure}");
        assert!(failure.detail.contains(&faults[0].1[..3]), "{failure}");
        assert!(!failure.detail.contains("s3cret"), "{failure}");
    }
}

/// A server without TLS gets neither password nor mail.
#[test]
fn what_is_to_be_secured_is_not_sent_in_the_clear() {
    let (port, said) = server(&[]);
    let account = [("user", "me@example.org"), ("password", "s3cret-password"), ("tls", "starttls")];
    let email = crate::world::channel(&EMAIL, &given(&port, &account));
    deliver(&*email, &tell(Kind::Fire, None)).unwrap_err();
    drop(email);
    let said = said.recv().unwrap();
    assert!(!said.contains("AUTH") && !said.contains("MAIL"), "{said}");
}

/// Connections are taken by the system, and nobody answers them.
#[test]
fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let email = crate::world::channel(&EMAIL, &given(&port, &[("timeout", "50 ms")]));
    let failure = deliver(&*email, &tell(Kind::Fire, None)).unwrap_err();
    assert_eq!(failure.retry, Retry::Backoff);
}
