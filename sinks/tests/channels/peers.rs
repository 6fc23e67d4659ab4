//! Real peers on loopback, where they are installed (`sinks/tests/peers/install`). With `HIGHWATER_PEERS=1` one
//! that is absent is a failure.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use highwater_sinks::alert::Kind;
use highwater_sinks::alert::alertmanager::ALERTMANAGER;
use highwater_sinks::alert::channel::Retry;
use highwater_sinks::alert::discord::DISCORD;
use highwater_sinks::alert::email::EMAIL;
use highwater_sinks::alert::slack::SLACK;
use highwater_sinks::alert::telegram::TELEGRAM;
use serde_json::Value;

use crate::server::Server;
use crate::world::{amend, channel, deliver, tell, withdraw};

#[expect(clippy::disallowed_methods, reason = "where peers are installed is told by the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[expect(clippy::print_stdout, reason = "whoever runs the tests must see that these were left out")]
fn absent<T>(what: &str) -> Option<T> {
    assert!(environment("HIGHWATER_PEERS").is_none(), "{what}; see sinks/tests/peers/install");
    println!("left out: {what}; see sinks/tests/peers/install");
    None
}

fn home() -> Option<PathBuf> {
    match environment("HIGHWATER_PEERS_HOME") {
        Some(home) => Some(home.into()),
        None => absent("HIGHWATER_PEERS_HOME is not set"),
    }
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

/// A peer that speaks lines of JSON. It is killed when it is dropped.
struct Peer {
    process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(command: &mut Command) -> Peer {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Peer { input: process.stdin.take().unwrap(), process, lines }
    }

    fn python(name: &str, arguments: &[&str]) -> Option<Peer> {
        Some(Peer::start(Command::new(home()?.join("venv/bin/python")).arg(script(name)).args(arguments)))
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn said(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn tell(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_mail_server_reads_what_was_meant() {
    let Some(mut peer) = Peer::python("smtp.py", &["--auth"]) else { return };
    let port = peer.said()["port"].to_string();
    let given = |password: &'static str, to: &'static str, port: &str| {
        let given = [
            ("host", "127.0.0.1"),
            ("port", port),
            ("tls", "none"),
            ("user", "me"),
            ("password", password),
            ("from", "Highwater <alerts@example.org>"),
            ("to", to),
            ("link", "https://etherscan.io/tx/{{ fields.tx_hash }}"),
        ];
        channel(&EMAIL, &given)
    };
    let email = given("s3cret-password", "Ann <ann@example.org>, bob@example.org", &port);
    let mut first = tell(Kind::Fire, None);
    first.message.title = "Größe 😀\r\nBcc: victim@example.org".to_owned();
    first.message.body = "</div><script>x</script>\n.\nQUIT".to_owned();
    let root = deliver(&*email, &first).unwrap();
    let mail = peer.said();
    assert_eq!(mail["defects"], serde_json::json!([]));
    assert_eq!(mail["to"], serde_json::json!(["ann@example.org", "bob@example.org"]));
    assert_eq!(mail["headers"]["Subject"], "[HIGH] Größe 😀 Bcc: victim@example.org");
    assert_eq!(mail["headers"]["Auto-Submitted"], "auto-generated");
    assert_eq!(mail["headers"]["Bcc"], Value::Null);
    assert!(mail["parts"]["text/plain"].as_str().unwrap().contains("</div><script>x</script>"));
    assert!(mail["parts"]["text/html"].as_str().unwrap().contains("&lt;script&gt;"));
    assert!(mail["parts"]["text/html"].as_str().unwrap().contains("https://etherscan.io/tx/0xabcd"));

    deliver(&*email, &withdraw(&root, &root)).unwrap();
    let mail = peer.said();
    assert_eq!(mail["headers"]["In-Reply-To"], root.0["message_id"]);
    assert_eq!(mail["headers"]["References"], root.0["message_id"]);
    assert_eq!(mail["headers"]["Subject"], "Re: [HIGH] Größe 😀 Bcc: victim@example.org");

    let refused = |password, to| deliver(&*given(password, to, &port), &first).unwrap_err();
    assert_eq!(refused("s3cret-password", "nobody@example.org").retry, Retry::Never);
    assert_eq!(refused("s3cret-password", "full@example.org").retry, Retry::NotTaken);
    let failure = refused("wr0ng-password", "ann@example.org");
    assert!(failure.retry == Retry::Never && !failure.detail.contains("wr0ng"), "{failure}");
}

#[test]
fn a_bot_api_takes_edits_and_replies() {
    let Some(home) = home() else { return };
    let mut peer = Peer::start(Command::new("node").arg(script("telegram.cjs")).arg(home));
    let api = format!("http://127.0.0.1:{}", peer.said()["port"]);
    let given = [("token", "123456:s3cret"), ("chat_id", "42"), ("api_url", api.as_str()), ("allow_private", "true")];
    let bot = channel(&TELEGRAM, &given);
    let root = deliver(&*bot, &tell(Kind::Fire, None)).unwrap();
    assert!(root.0["message_id"].is_i64(), "{root:?}");
    let reply = deliver(&*bot, &tell(Kind::Update, Some(&root))).unwrap();
    assert_ne!(root, reply);
    deliver(&*bot, &amend(&root, &root)).unwrap();
    peer.tell("history");
    let history = peer.said();
    assert_eq!(history.as_array().unwrap().len(), 2, "{history}");
    assert!(history[0]["message"]["text"].as_str().unwrap().starts_with("*\\[CORRECTED, HIGH\\]"), "{history}");
    assert_eq!(history[1]["message"]["reply_parameters"]["message_id"], root.0["message_id"], "{history}");
}

#[test]
fn the_models_of_slack_take_all_messages() {
    let Some(mut judge) = Peer::python("slack_blocks.py", &[]) else { return };
    let server = Server::start(&[(200, "", "ok"); 4]);
    let url = server.url("/services/x");
    let link = ("link", "https://etherscan.io/tx/{{ fields.tx_hash }}");
    let hook = channel(&SLACK, &[("url", &url), link, ("allow_private", "true")]);
    let mut huge = tell(Kind::Fire, None);
    huge.message.title = "&<>😀".repeat(10_000);
    huge.message.body = "<!channel> & *x*\n".repeat(10_000);
    huge.message.reason = "`_~".repeat(10_000);
    let receipt = deliver(&*hook, &tell(Kind::Fire, None)).unwrap();
    deliver(&*hook, &huge).unwrap();
    deliver(&*hook, &withdraw(&receipt, &receipt)).unwrap();
    deliver(&*hook, &amend(&receipt, &receipt)).unwrap();
    for _ in 0..4 {
        let body = server.next().body;
        judge.tell(&body.to_string());
        assert_eq!(judge.line(), "ok", "{body}");
    }
    let header = serde_json::json!({ "type": "plain_text", "text": "x".repeat(151) });
    let too_long = serde_json::json!({ "blocks": [{ "type": "header", "text": header }] });
    judge.tell(&too_long.to_string());
    assert_ne!(judge.line(), "ok", "the judge does judge");
}

#[test]
fn the_builders_of_discord_take_all_messages() {
    let Some(home) = home() else { return };
    let mut judge = Peer::start(Command::new("node").arg(script("discord_embeds.cjs")).arg(home));
    let answer = (200, "", "{\"id\":\"1\",\"channel_id\":\"2\"}");
    let server = Server::start(&[answer; 4]);
    let url = server.url("/api/webhooks/1/x");
    let link = ("link", "https://etherscan.io/tx/{{ fields.tx_hash }}");
    let hook = channel(&DISCORD, &[("url", &url), link, ("allow_private", "true")]);
    let mut huge = tell(Kind::Fire, None);
    huge.message.title = "*_😀".repeat(10_000);
    huge.message.body = "@everyone `x` ~y~\n".repeat(10_000);
    huge.message.reason = "|>#".repeat(10_000);
    let receipt = deliver(&*hook, &tell(Kind::Fire, None)).unwrap();
    deliver(&*hook, &huge).unwrap();
    deliver(&*hook, &withdraw(&receipt, &receipt)).unwrap();
    deliver(&*hook, &amend(&receipt, &receipt)).unwrap();
    for _ in 0..4 {
        let body = server.next().body;
        judge.tell(&body.to_string());
        assert_eq!(judge.line(), "ok", "{body}");
    }
    let too_long = serde_json::json!({ "embeds": [{ "title": "x".repeat(257) }], "allowed_mentions": { "parse": [] } });
    judge.tell(&too_long.to_string());
    assert_ne!(judge.line(), "ok", "the judge does judge");
}

/// Alertmanager, and its port.
fn alertmanager(dir: &std::path::Path) -> Option<(Peer, u16)> {
    let there = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let Some(program) = ["prometheus-alertmanager", "alertmanager"].into_iter().find(there) else {
        return absent("there is no Alertmanager on the PATH");
    };
    std::fs::write(dir.join("config.yml"), "route: { receiver: none }\nreceivers: [{ name: none }]\n").unwrap();
    // It has to be told a free port; between this and its start another may take it, which it then says.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1", program]).arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.args(["--cluster.listen-address=", "--config.file=config.yml", "--storage.path=data"]).current_dir(dir);
    let mut peer = Peer::start(&mut command);
    while !peer.line().to_lowercase().contains("listen") {}
    Some((peer, port))
}

/// Label and state of what Alertmanager holds as firing.
fn firing(port: u16) -> Vec<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /api/v2/alerts HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let alerts: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap().to_owned();
    alerts.as_array().unwrap().iter().map(|alert| (label(alert, "alertname"), label(alert, "severity"))).collect()
}

#[test]
fn alertmanager_holds_what_is_so() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_peer, port)) = alertmanager(dir.path()) else { return };
    let url = format!("http://127.0.0.1:{port}");
    let manager = channel(&ALERTMANAGER, &[("url", &url), ("labels", "team=ops"), ("allow_private", "true")]);
    let now_s = highwater_engine::clock::unix_time_ms() / 1_000;
    let at_now = |mut outgoing: highwater_sinks::alert::channel::Outgoing| {
        outgoing.sent_at_s = now_s;
        outgoing
    };
    let is = |severity: &str| vec![("large_sandwich".to_owned(), severity.to_owned())];
    let root = deliver(&*manager, &at_now(tell(Kind::Fire, None))).unwrap();
    assert_eq!(firing(port), is("high"));
    let mut worse = at_now(tell(Kind::Escalate, Some(&root)));
    worse.message.severity = "critical".to_owned();
    deliver(&*manager, &worse).unwrap();
    assert_eq!(firing(port), is("critical"));
    deliver(&*manager, &at_now(tell(Kind::Resolve, Some(&root)))).unwrap();
    assert_eq!(firing(port), []);
    deliver(&*manager, &at_now(tell(Kind::Fire, None))).unwrap();
    assert_eq!(firing(port), is("high"));
    deliver(&*manager, &at_now(withdraw(&root, &root))).unwrap();
    assert_eq!(firing(port), []);
}
