//! `script`: a program of one's own, with the notification as JSON on its standard input.
//!
//! Off unless the job says `enabled = 'true'`: a job file that runs programs should say so aloud. The program is
//! started directly, no shell reads the arguments, and nothing of the notification is among them. It gets an empty
//! environment but for `PATH`, `HIGHWATER_KEY` (the idempotency key) and `HIGHWATER_ACTION`, a limit of memory
//! and of time, after which it and all it has started are killed, and of its output only the beginning is read.
//!
//! Exit code 0: told. 75 (`EX_TEMPFAIL` of sysexits.h), a time-out, or a program that cannot be started for now:
//! tried again. Any other: for good. The receipt is the first line of its output.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use highwater_engine::options::{OptionDoc, Options};
use highwater_engine::sink::{SinkError, SinkRequest};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::channel::{Action, Channel, Delivering, Failure, Outgoing, Receipt, Retry};
use super::connector::{AlertConnector, joined, length};
use super::payload::payload;
use super::secrets::Secrets;
use super::settings;

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "command",
        kind: "words, or a JSON array of text",
        default: "required",
        doc: "The program and its arguments; quotes as in a shell, nothing else of a shell; a relative path starts from the job's folder.",
        example: "./notify.sh --team ops",
    },
    OptionDoc {
        name: "enabled",
        kind: "boolean",
        default: "false",
        doc: "Must be true: the job runs a program on this machine.",
        example: "true",
    },
    OptionDoc {
        name: "timeout",
        kind: "duration",
        default: "10 seconds",
        doc: "How long the program may run; then it is killed with all it has started.",
        example: "1 minute",
    },
    OptionDoc {
        name: "memory_mb",
        kind: "integer (MiB)",
        default: "512",
        doc: "How much address space the program may have.",
        example: "64",
    },
];

const LISTS: &[&[OptionDoc]] = &[OWN, settings::OPTIONS];

/// The `script` connector.
pub const SCRIPT: AlertConnector = AlertConnector {
    name: "script",
    about: "Notifications of an alert as JSON to a program.",
    options: &joined::<{ length(LISTS) }>(LISTS),
    make,
};

/// What is read of each of the program's outputs.
const LONGEST_OUTPUT_BYTES: u64 = 64 * 1024;

/// `EX_TEMPFAIL` of sysexits.h: the user is invited to retry.
const TRY_AGAIN: i32 = 75;

/// The search path of programs: that of a plain system, whatever the job was started with.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn make(_: &SinkRequest, options: &mut Options) -> Result<Box<dyn Channel>, SinkError> {
    let text = options.require_str("command")?;
    let words = read_words(&text)
        .ok_or_else(|| options.invalid("command", "…", "words as in a shell, or a JSON array of text"))?;
    if options.take_bool("enabled")? != Some(true) {
        let expected = "true: this sink runs a program, which a job must allow by enabled = 'true'";
        return Err(options.invalid("enabled", "false", expected).into());
    }
    let timeout = options.take_duration("timeout")?.unwrap_or(Duration::from_secs(10));
    let memory_kb = match options.take_u64("memory_mb")? {
        Some(0) => return Err(options.invalid("memory_mb", "0", "a whole number above zero").into()),
        given => given.unwrap_or(512).saturating_mul(1024),
    };
    let mut secrets = Secrets::new();
    words.iter().skip(1).for_each(|word| secrets.add(word));
    Ok(Box::new(Script { words, folder: options.base().to_owned(), timeout, memory_kb, secrets }))
}

fn read_words(text: &str) -> Option<Vec<String>> {
    let words: Vec<String> = match text.trim_start().starts_with('[') {
        true => serde_json::from_str(text).ok()?,
        false => shell_words::split(text).ok()?,
    };
    let sound =
        words.first().is_some_and(|program| !program.is_empty()) && !words.iter().any(|word| word.contains('\0'));
    sound.then_some(words)
}

struct Script {
    words: Vec<String>,
    folder: PathBuf,
    timeout: Duration,
    memory_kb: u64,
    /// Arguments may be keys.
    secrets: Secrets,
}

impl Script {
    /// `sh` sets the limit and becomes the program; the script is ours, words come as arguments.
    fn command(&self, outgoing: &Outgoing) -> Command {
        let action = match outgoing.action {
            Action::Tell => "tell",
            Action::Amend(_) => "amend",
            Action::Withdraw(_) => "withdraw",
            Action::Acknowledge => "acknowledge",
        };
        let limited = format!("ulimit -c 0; ulimit -v {} && exec \"$@\"", self.memory_kb);
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(limited).arg("sh").args(self.words.iter().map(OsString::from));
        command
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("HIGHWATER_KEY", &outgoing.idempotency_key)
            .env("HIGHWATER_ACTION", action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it starts can be killed with it.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    async fn run(&self, outgoing: &Outgoing) -> Result<Receipt, Failure> {
        let mut child = self.command(outgoing).spawn().map_err(|error| {
            let detail = format!("starting {} failed: {error}", self.place());
            Failure { detail, retry: Retry::NotTaken }
        })?;
        let talk = talk(&mut child, payload(outgoing).to_string());
        let (status, output, errors) = match tokio::time::timeout(self.timeout, talk).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                let detail = format!("talking to {} failed: {error}", self.place());
                return Err(Failure { detail, retry: Retry::Backoff });
            }
            Err(_) => {
                let detail = format!("{} did not end within {} ms", self.place(), self.timeout.as_millis());
                return Err(Failure { detail, retry: Retry::Backoff });
            }
        };
        if status.success() {
            let line = output.lines().next().unwrap_or_default();
            return Ok(Receipt(json!({ "output": self.secrets.hide(line) })));
        }
        let said = self.secrets.hide(if errors.trim().is_empty() { &output } else { &errors });
        let retry = if status.code() == Some(TRY_AGAIN) { Retry::Backoff } else { Retry::Never };
        let separator = if said.is_empty() { "" } else { ": " };
        Err(Failure { detail: format!("{} ended with {status}{separator}{said}", self.place()), retry })
    }
}

/// The processes of a program, killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error says that there is none left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Writes the input, reads both outputs and waits for the end, all at once. What the program has started ends
/// with it: it could hold the outputs open for ever.
async fn talk(child: &mut Child, input: String) -> io::Result<(ExitStatus, String, String)> {
    let group = Group::of(child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program need not read its input.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let end = async {
        let status = child.wait().await;
        drop(group);
        status
    };
    let ((), output, errors, status) = tokio::join!(write, beginning(stdout), beginning(stderr), end);
    Ok((status?, output?, errors?))
}

/// The beginning of an output; the rest is read and dropped, so that the program is not held up.
async fn beginning(output: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let Some(mut output) = output else { return Ok(String::new()) };
    let mut kept = Vec::new();
    (&mut output).take(LONGEST_OUTPUT_BYTES).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut output, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

impl Channel for Script {
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing) -> Delivering<'a> {
        Box::pin(self.run(outgoing))
    }

    fn place(&self) -> String {
        self.words[0].clone()
    }
}
