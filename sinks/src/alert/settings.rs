//! The options that all channels share: how deliveries are retried, limited and corrected.

use std::path::PathBuf;
use std::time::Duration;

use highwater_engine::options::{OptionDoc, OptionError, Options};
use highwater_engine::sink::SinkRequest;

use crate::common::resolve;

/// The options of all alert channels.
pub const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "corrections",
        kind: "boolean",
        default: "on",
        doc: "Whether what was told is amended or withdrawn when a reorg takes it back.",
        example: "off",
    },
    OptionDoc {
        name: "concurrency",
        kind: "integer (messages)",
        default: "4",
        doc: "How many messages of different stories are under way at once.",
        example: "1",
    },
    OptionDoc {
        name: "max_per_minute",
        kind: "integer (messages)",
        default: "60",
        doc: "How many attempts the channel gets in a minute, a tenth of them at once; more wait.",
        example: "20",
    },
    OptionDoc {
        name: "retry_initial",
        kind: "duration",
        default: "1 second",
        doc: "Pause before the second attempt.",
        example: "250 ms",
    },
    OptionDoc {
        name: "retry_factor",
        kind: "number",
        default: "2",
        doc: "How much longer each further pause is.",
        example: "1.5",
    },
    OptionDoc {
        name: "retry_max_delay",
        kind: "duration",
        default: "5 minutes",
        doc: "The longest pause.",
        example: "1 hour",
    },
    OptionDoc {
        name: "retry_max",
        kind: "integer (attempts)",
        default: "8",
        doc: "Attempts until a message becomes a dead letter.",
        example: "20",
    },
    OptionDoc {
        name: "breaker_failures",
        kind: "integer (attempts)",
        default: "5",
        doc: "Failed attempts in a row, of whatever messages, after which the channel is left alone for a while.",
        example: "10",
    },
    OptionDoc {
        name: "breaker_pause",
        kind: "duration",
        default: "30 seconds",
        doc: "How long it is left alone before one message probes it.",
        example: "2 minutes",
    },
    OptionDoc {
        name: "drain",
        kind: "duration",
        default: "30 seconds",
        doc: "How long the end of the job waits for messages that are due; the rest is sent by the next run.",
        example: "5 seconds",
    },
    OptionDoc {
        name: "dead_letter",
        kind: "path",
        default: "none: they are in the ledger alone",
        doc: "A file to which dead letters are appended as JSON lines.",
        example: "out/dead.jsonl",
    },
];

/// What [`OPTIONS`] say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) corrections: bool,
    pub(super) concurrency: usize,
    pub(super) max_per_minute: u64,
    pub(super) retry: RetrySettings,
    pub(super) breaker_failures: u64,
    pub(super) breaker_pause: Duration,
    pub(super) drain: Duration,
    pub(super) dead_letter: Option<PathBuf>,
}

/// When a failed message is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RetrySettings {
    pub(super) initial: Duration,
    pub(super) factor: f64,
    pub(super) max_delay: Duration,
    pub(super) max_attempts: u64,
}

impl Settings {
    /// Takes [`OPTIONS`].
    pub(super) fn take(request: &SinkRequest, options: &mut Options) -> Result<Settings, OptionError> {
        let mut positive = |name, default| match options.take_u64(name)? {
            Some(0) => Err(options.invalid(name, "0", "a whole number above zero")),
            given => Ok(given.unwrap_or(default)),
        };
        let concurrency = usize::try_from(positive("concurrency", 4)?).unwrap_or(usize::MAX).min(64);
        let max_per_minute = positive("max_per_minute", 60)?;
        let max_attempts = positive("retry_max", 8)?;
        let breaker_failures = positive("breaker_failures", 5)?;
        let factor = options.take_with("retry_factor", "a number from 1 to 10", |text| {
            text.parse().ok().filter(|factor| (1.0..=10.0).contains(factor))
        })?;
        let mut pause =
            |name, default_s| options.take_duration(name).map(|given| given.unwrap_or(Duration::from_secs(default_s)));
        let (initial, max_delay) = (pause("retry_initial", 1)?, pause("retry_max_delay", 300)?);
        let (breaker_pause, drain) = (pause("breaker_pause", 30)?, pause("drain", 30)?);
        let dead_letter = options.take_str("dead_letter").map(|path| resolve(request, options, &path));
        Ok(Settings {
            corrections: options.take_bool("corrections")?.unwrap_or(true),
            concurrency,
            max_per_minute,
            retry: RetrySettings { initial, factor: factor.unwrap_or(2.0), max_delay, max_attempts },
            breaker_failures,
            breaker_pause,
            drain,
            dead_letter,
        })
    }
}
