//! The options of an alert that say when its stories begin and end, and what they are called.

use highwater_engine::options::parse_duration;
use highwater_operators::alert::signal::SignalColumns;
use highwater_operators::alert::story::Lifecycle;
use highwater_operators::alert::template::{STORY_NAMES, TemplateError, Templates, Texts};

use super::options::Taken;
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean};

/// When stories begin and end.
pub(super) fn lifecycle(options: &mut Taken, columns: &SignalColumns) -> Result<Lifecycle, Diagnostic> {
    let usual = Lifecycle::default();
    let cool = options.duration_ms("cool_after")?;
    let resolve = options.duration_ms("resolve_after")?;
    let (cool_after_ms, resolve_after_ms) = match (cool, resolve) {
        (Some((cool, span)), Some((resolve, _))) if cool > resolve => {
            return Err(Diagnostic::new(
                Code::BadOption,
                "option \"cool_after\" is longer than \"resolve_after\"",
                span,
            ));
        }
        (Some((cool, _)), None) => (cool, usual.resolve_after_ms.max(cool)),
        (None, Some((resolve, _))) => (usual.cool_after_ms.min(resolve), resolve),
        (cool, resolve) => (
            cool.map_or(usual.cool_after_ms, |(cool, _)| cool),
            resolve.map_or(usual.resolve_after_ms, |(resolve, _)| resolve),
        ),
    };
    let gone = match options.choice("resolve", &["quiet", "gone"])? {
        Some(("gone", span)) if columns.time.is_some() => {
            return Err(Diagnostic::new(Code::BadOption, "option \"resolve\" is 'quiet' where windows close", span)
                .with_hint("a window that is over does not go"));
        }
        word => word.is_some_and(|(word, _)| word == "gone"),
    };
    Ok(Lifecycle {
        cool_after_ms,
        resolve_after_ms,
        open_after: options.count("open_after")?.unwrap_or(usual.open_after),
        close_after: options.count("close_after")?.unwrap_or(usual.close_after),
        reopen_within_ms: options.duration_ms("reopen_within")?.map_or(usual.reopen_within_ms, |(ms, _)| ms),
        flap_limit: options.count("flap_limit")?.unwrap_or(usual.flap_limit),
        flap_window_ms: options.duration_ms("flap_window")?.map_or(usual.flap_window_ms, |(ms, _)| ms),
        resolve_when_gone: gone,
        same_for_ms: options.duration_ms("dedup_for")?.map_or(resolve_after_ms, |(ms, _)| ms),
    })
}

/// The templates, checked.
pub(super) fn texts(options: &mut Taken, view_columns: &[String]) -> Result<Texts, Diagnostic> {
    let mut spans = Vec::new();
    let mut take = |name: &'static str| {
        let (text, span) = options.text(name)?;
        spans.push((name, span));
        Some(text)
    };
    let texts = Texts { title: take("title"), body: take("body"), reason: take("reason"), why: take("why") };
    let columns: Vec<&str> = view_columns.iter().map(String::as_str).collect();
    match Templates::new(texts.clone(), &columns) {
        Ok(_) => Ok(texts),
        Err(error) => {
            let span = spans.iter().find(|(name, _)| *name == error.template()).map(|(_, span)| *span);
            let hint = match &error {
                TemplateError::Unknown { name, .. } => did_you_mean(name, columns.iter().chain(STORY_NAMES).copied()),
                TemplateError::Syntax { .. } => None,
            };
            let code = if matches!(error, TemplateError::Unknown { .. }) { Code::UnknownColumn } else { Code::Syntax };
            Err(Diagnostic::new(code, error.to_string(), span).with_hint_opt(hint))
        }
    }
}

impl Taken {
    /// A duration in milliseconds.
    pub(super) fn duration_ms(&mut self, name: &str) -> Result<Option<(i64, Span)>, Diagnostic> {
        let Some((text, span)) = self.text(name) else { return Ok(None) };
        match parse_duration(&text).and_then(|duration| i64::try_from(duration.as_millis()).ok()) {
            Some(ms) => Ok(Some((ms, span))),
            None => Err(Diagnostic::new(
                Code::BadOption,
                format!("option \"{name}\" is not a duration such as INTERVAL '15 minutes'"),
                span,
            )),
        }
    }

    /// A whole number above 0.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u32>, Diagnostic> {
        let Some((text, span)) = self.text(name) else { return Ok(None) };
        match text.trim().parse() {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => {
                Err(Diagnostic::new(Code::BadOption, format!("option \"{name}\" is not a whole number above 0"), span))
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice(
        &mut self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<(&'static str, Span)>, Diagnostic> {
        let Some((text, span)) = self.text(name) else { return Ok(None) };
        let found = words.iter().find(|word| text.trim().eq_ignore_ascii_case(word));
        let list = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" or ");
        let mistake = || Diagnostic::new(Code::BadOption, format!("option \"{name}\" is {list}"), span);
        found.map(|word| Some((*word, span))).ok_or_else(mistake)
    }
}
