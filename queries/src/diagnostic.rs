//! What a user is told about a job that cannot run: a stable code, one place, one hint.
//!
//! ```text
//! error[Q0103]: column "amout_in" does not exist
//!   --> jobs/sandwich.sql:7:12
//!    |
//!  7 |     SELECT amout_in
//!    |            ^^^^^^^^ hint: did you mean "amount_in"?
//! ```
//!
//! Messages are lower case and factual, without a full stop. A diagnostic has at most one hint and
//! two notes: what does not fit is left out, because nobody reads a wall of text.

use std::fmt;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A place in the text of a job, in bytes: `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// From the start of one place to the end of another.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start, end: other.end.max(self.end) }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// The stable codes. A code never changes its meaning; a removed one is never used again.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// All codes with what they mean: the reference page is made of this.
            pub const ALL: &'static [(Code, &'static str)] = &[$((Code::$name, concat!($($doc),+)),)+];

            /// The code as printed, such as `Q0103`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)+
                }
            }
        }
    };
}

codes! {
    /// The text is not a statement of the language.
    Syntax = "Q0001",
    /// A table or view does not exist.
    UnknownTable = "Q0101",
    /// A source does not exist.
    UnknownSource = "Q0102",
    /// A column does not exist.
    UnknownColumn = "Q0103",
    /// A function does not exist.
    UnknownFunction = "Q0104",
    /// A column name fits several tables.
    AmbiguousColumn = "Q0105",
    /// A secret does not exist.
    UnknownSecret = "Q0106",
    /// A type does not exist.
    UnknownType = "Q0107",
    /// A value has a type that does not fit its place.
    TypeMismatch = "Q0201",
    /// An option is not known, or its value cannot be used.
    BadOption = "Q0202",
    /// A required option is absent.
    MissingOption = "Q0203",
    /// A view would keep state that grows for ever.
    UnboundedState = "Q0301",
    /// The function now() stands where it has no incremental meaning.
    NowMisuse = "Q0302",
    /// A join that cannot be kept up to date yet.
    UnsupportedJoin = "Q0303",
    /// A construct that cannot be kept up to date yet.
    Unsupported = "Q0304",
    /// A sink wants rows at a moment that cannot be told from the rows.
    EmitImpossible = "Q0305",
    /// LIMIT without ORDER BY: which rows is not determined.
    LimitWithoutOrder = "Q0306",
    /// Two things of one name.
    DuplicateName = "Q0401",
    /// No connector of that name.
    UnknownConnector = "Q0402",
    /// An aggregate stands where none may, or a column is neither grouped nor aggregated.
    AggregateMisuse = "Q0403",
    /// Views or functions that use each other in a circle.
    CyclicViews = "Q0404",
    /// A source, table, secret or sink cannot be opened.
    CannotOpen = "Q0405",
    /// The planner failed in a way that is not the job's fault.
    Internal = "Q0900",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One mistake in a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of mistake.
    pub code: Code,
    /// What is wrong: lower case, factual, no full stop.
    pub message: String,
    /// Where; none if it concerns no one place.
    pub span: Option<Span>,
    /// What to do.
    pub hint: Option<String>,
    notes: Vec<String>,
}

impl Diagnostic {
    /// A mistake at a place.
    pub fn new(code: Code, message: impl Into<String>, span: impl Into<Option<Span>>) -> Diagnostic {
        Diagnostic { code, message: message.into(), span: span.into(), hint: None, notes: Vec::new() }
    }

    /// With advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// With advice, if there is some.
    #[must_use]
    pub fn with_hint_opt(mut self, hint: Option<String>) -> Diagnostic {
        self.hint = hint.or(self.hint);
        self
    }

    /// With a further fact; a third and later note is dropped.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Diagnostic {
        if self.notes.len() < 2 {
            self.notes.push(note.into());
        }
        self
    }

    /// At this place, if it has none yet.
    #[must_use]
    pub fn or_at(mut self, span: impl Into<Option<Span>>) -> Diagnostic {
        self.span = self.span.or(span.into());
        self
    }

    /// The facts that go with it, at most two.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The picture for people: the message, the line of the job, the hint under the place.
    ///
    /// `path` is shown as given; `text` is the text of the whole job.
    pub fn render(&self, path: &str, text: &str, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let title = Level::ERROR.primary_title(&self.message).id(self.code.as_str());
        let hint = self.hint.as_ref().map(|hint| format!("hint: {hint}"));
        let mut group = match self.span {
            Some(span) => {
                let annotation = AnnotationKind::Primary.span(clamp(text, span)).label(hint.as_deref());
                title.element(Snippet::source(text).path(path).annotation(annotation))
            }
            None => {
                let group = Group::with_title(title);
                match &self.hint {
                    Some(hint) => group.element(Level::HELP.with_name("hint").message(hint)),
                    None => group,
                }
            }
        };
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note));
        }
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }
}

/// The span as a range of whole characters inside the text, at least one character wide where possible.
fn clamp(text: &str, span: Span) -> std::ops::Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// The candidate nearest to a mistyped name, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| !candidate.is_empty())
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            // A name cut short is nearer than one with other letters.
            let cut = name.len() >= 4 && lower.starts_with(&name);
            (if cut { 1 } else { strsim::damerau_levenshtein(&name, &lower) }, candidate)
        })
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean "x"?`, if something is near enough.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|nearest| format!("did you mean \"{nearest}\"?"))
}
