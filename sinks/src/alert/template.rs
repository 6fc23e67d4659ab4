//! Templates of jobs: `template`, `title` and `link`.
//!
//! A template is Jinja ([`minijinja`]) over the members of [`payload`](super::payload()): `{{ title }}`,
//! `{{ severity }}`, `{{ fields.tx_hash }}`. Its own text is markup of the channel; every value is escaped for it,
//! whatever filters it went through (`safe` included), so that nothing from the chain becomes markup. Values are
//! cut until the whole fits the limit; the template's text never is.
//!
//! A name that no notification has is refused when the job is checked. Which `fields` there are, only the
//! notification says: if one is not there, the notification is told in the standard form, and a warning logged.

use highwater_engine::options::{OptionDoc, OptionError, Options};
use minijinja::value::ValueKind;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use url::Url;

use super::channel::Outgoing;
use super::payload::payload;
use super::text::{Escape, escaped, shortened, url_part};

/// `template`, for channels with markup.
pub(super) const TEMPLATE: OptionDoc = OptionDoc {
    name: "template",
    kind: "Jinja template",
    default: "title, body, why and the facts of the story",
    doc: "The text: markup of the service around values of the notification, which are escaped.",
    example: "{{ reason }} (block {{ block_number }}, {{ fields.tx_hash }})",
};

/// `title`, where a message has one.
pub(super) const TITLE: OptionDoc = OptionDoc {
    name: "title",
    kind: "Jinja template",
    default: "severity and title",
    doc: "The first line or the subject.",
    example: "{{ severity | upper }}: {{ title }}",
};

/// `link`, where a message may have one.
pub(super) const LINK: OptionDoc = OptionDoc {
    name: "link",
    kind: "Jinja template of a URL",
    default: "none",
    doc: "Where the message leads; values are escaped as parts of a URL.",
    example: "https://etherscan.io/tx/{{ fields.tx_hash }}",
};

/// Lengths that values are cut to, one after the other, until a text fits.
const VALUE_LIMITS: [usize; 6] = [usize::MAX, 1_024, 256, 64, 16, 4];

/// The members of [`payload`].
const MEMBERS: [&str; 29] = [
    "action",
    "alert",
    "block_number",
    "body",
    "confidence",
    "entities",
    "entity_count",
    "fields",
    "group_key",
    "id",
    "kind",
    "last_seen_at",
    "notification_id",
    "notified_at",
    "occurrences",
    "opened_at",
    "reason",
    "reasons",
    "replaces",
    "revision",
    "schema",
    "score",
    "severity",
    "sink",
    "status",
    "story_id",
    "suppressed",
    "title",
    "why",
];

/// Names that are no members of a notification.
const GLOBALS: [&str; 5] = ["range", "dict", "debug", "namespace", "loop"];

const NAME: &str = "template";
const LIMIT: &str = "value_limit";

/// The templates of one sink.
#[derive(Debug, Default)]
pub(super) struct Templates {
    /// The text.
    pub(super) text: Option<Template>,
    /// The first line.
    pub(super) title: Option<Template>,
    /// Where it leads.
    pub(super) link: Option<Template>,
}

impl Templates {
    /// Takes `template` and `link`, and `title` if the title of the service has markup of this kind.
    ///
    /// # Errors
    /// If one cannot be parsed, or names what no notification has.
    pub(super) fn take(options: &mut Options, escape: Escape, title: Option<Escape>) -> Result<Templates, OptionError> {
        let text = Template::take(options, "template", escape)?;
        let title = match title {
            Some(escape) => Template::take(options, "title", escape)?,
            None => None,
        };
        Ok(Templates { text, title, link: take_link(options)? })
    }

    /// Where the message leads, if it leads anywhere.
    pub(super) fn link(&self, outgoing: &Outgoing) -> Option<String> {
        let text = self.link.as_ref()?.render(outgoing, |text| text.len() <= 2_048)?;
        // Written anew by the parser: no space, quote or bracket of the template is left in it.
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        Some(escape_brackets(url.as_str()))
    }
}

/// Brackets and bars end links in the markup of some services.
fn escape_brackets(url: &str) -> String {
    url.chars().fold(String::with_capacity(url.len()), |mut out, character| {
        if "()[]|<>'\"\\`*".contains(character) {
            url_part(character, &mut out)
        } else {
            out.push(character)
        }
        out
    })
}

/// Takes `link`.
pub(super) fn take_link(options: &mut Options) -> Result<Option<Template>, OptionError> {
    let Some(text) = options.take_str("link") else { return Ok(None) };
    // A value decides neither the scheme nor the host.
    let fixed = text.split('{').next().unwrap_or_default();
    let host_stands = ["https://", "http://"]
        .iter()
        .any(|scheme| fixed.strip_prefix(scheme).is_some_and(|rest| rest.find('/').is_some_and(|slash| slash > 0)));
    if !host_stands {
        let expected = "a URL with scheme and host written out, such as https://etherscan.io/tx/{{ fields.tx_hash }}";
        return Err(options.invalid("link", text, expected));
    }
    Template::parse(options, "link", text, url_part).map(Some)
}

/// One template.
#[derive(Debug)]
pub(super) struct Template {
    name: &'static str,
    environment: Environment<'static>,
}

impl Template {
    /// Takes an option that is a template.
    pub(super) fn take(
        options: &mut Options,
        name: &'static str,
        escape: Escape,
    ) -> Result<Option<Template>, OptionError> {
        match options.take_str(name) {
            Some(text) => Template::parse(options, name, text, escape).map(Some),
            None => Ok(None),
        }
    }

    fn parse(options: &Options, name: &'static str, text: String, escape: Escape) -> Result<Template, OptionError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_formatter(move |out, state, value| {
            if value.is_undefined() {
                return Err(minijinja::Error::from(minijinja::ErrorKind::UndefinedError));
            }
            let limit = state.lookup(LIMIT).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
            out.write_str(&escaped(&shortened(&shown(value), limit), escape)).map_err(minijinja::Error::from)
        });
        let wrong = |detail: &str| options.invalid(name, text.clone(), detail);
        if let Err(error) = environment.add_template_owned(NAME, text.clone()) {
            let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            let line = error.line().unwrap_or(1);
            return Err(wrong(&format!("a Jinja template (line {line}: {detail})")));
        }
        let template = environment.get_template(NAME).map_err(|error| wrong(&error.to_string()))?;
        let mut unknown: Vec<String> = template
            .undeclared_variables(false)
            .into_iter()
            .filter(|name| !MEMBERS.contains(&name.as_str()) && !GLOBALS.contains(&name.as_str()))
            .collect();
        unknown.sort();
        if let Some(first) = unknown.first() {
            let members = MEMBERS.join(", ");
            return Err(wrong(&format!(
                "a template of what a notification has: it names \"{first}\", known are {members}; columns of the \
                 alert's view are members of fields, as in fields.{first}"
            )));
        }
        Ok(Template { name, environment })
    }

    /// The text for one notification, if it can be made and some form of it fits.
    pub(super) fn render(&self, outgoing: &Outgoing, fits: impl Fn(&str) -> bool) -> Option<String> {
        let template = self.environment.get_template(NAME).expect("it was added when the template was parsed");
        let values = Value::from_serialize(payload(outgoing));
        for limit in VALUE_LIMITS {
            match template.render(context! { value_limit => limit, ..values.clone() }) {
                Ok(text) if fits(&text) => return Some(text),
                Ok(_) => {}
                Err(error) => {
                    let missing = self.missing(&values).unwrap_or_else(|| error.to_string());
                    let (sink, option) = (&outgoing.message.sink, self.name);
                    tracing::warn!(sink, option, missing, "a template could not be filled; the standard form is sent");
                    return None;
                }
            }
        }
        let (sink, option) = (&outgoing.message.sink, self.name);
        tracing::warn!(sink, option, "a template is longer than the service allows; the standard form is sent");
        None
    }

    /// The first name that the notification does not have.
    fn missing(&self, values: &Value) -> Option<String> {
        let template = self.environment.get_template(NAME).ok()?;
        let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
        names.sort();
        names.into_iter().find(|name| {
            let found = name.split('.').try_fold(values.clone(), |value, part| value.get_attr(part).ok());
            found.is_none_or(|value| value.is_undefined())
        })
    }
}

/// A value as people read it: nothing for NULL, lists with commas.
fn shown(value: &Value) -> String {
    match value.kind() {
        ValueKind::None => String::new(),
        ValueKind::Seq => {
            let items = value.try_iter().into_iter().flatten();
            items.map(|item| shown(&item)).collect::<Vec<_>>().join(", ")
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::testing::{self, fire, options, tell};
    use super::super::text::{html, markdown_v2, plain};
    use super::*;

    fn rendered(template: &str, escape: Escape) -> Option<String> {
        let templates = testing::templates(&[("template", template)], escape, None);
        templates.text.unwrap().render(&tell(fire()), |_| true)
    }

    fn refused(name: &'static str, template: &str) -> String {
        let mut options = options(&[(name, template)]);
        Templates::take(&mut options, plain, Some(plain)).unwrap_err().to_string()
    }

    #[test]
    fn members_are_those_of_the_payload() {
        let payload = payload(&tell(fire()));
        let members: BTreeSet<&str> = payload.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, MEMBERS.into_iter().collect());
    }

    #[test]
    fn values_are_escaped_and_the_template_is_not() {
        assert_eq!(rendered("<b>{{ title }}</b>", html).unwrap(), "<b>Sandwich &lt;of&gt; 12.5 ETH</b>");
        assert_eq!(rendered("{{ title | safe }}", html).unwrap(), "Sandwich &lt;of&gt; 12.5 ETH");
        assert_eq!(rendered("{% set t = title %}{{ t ~ '<' }}", html).unwrap(), "Sandwich &lt;of&gt; 12.5 ETH&lt;");
        assert_eq!(rendered("*{{ fields.profit }}*", markdown_v2).unwrap(), "*12\\.5*");
        assert_eq!(rendered("{{ entities }}, {{ replaces }}.", plain).unwrap(), "0xbot, .");
        assert_eq!(
            rendered("{% for r in reasons %}{{ loop.index }} {{ r }}{% endfor %}", plain).unwrap(),
            "1 profit 12.5 ETH"
        );
        assert_eq!(rendered("{{ opened_at }}", plain).unwrap(), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn wrong_templates_are_refused_with_the_name() {
        let message = refused("template", "{{ titel }}");
        assert!(message.contains("\"titel\"") && message.contains("fields.titel"), "{message}");
        assert!(refused("title", "{{ x.y }}").contains("\"x\""));
        assert!(refused("template", "a\n{{ title").contains("line 2"));
        assert!(refused("link", "{{ fields.url }}").contains("host written out"));
        assert!(refused("link", "https://{{ group_key }}/").contains("host written out"));
        assert!(refused("link", "javascript:x/{{ title }}").contains("host written out"));
    }

    #[test]
    fn a_missing_field_gives_the_standard_form() {
        assert_eq!(rendered("{{ fields.gone }}", plain), None);
        assert_eq!(rendered("{{ fields.gone | default('?') }}", plain).unwrap(), "?");
    }

    #[test]
    fn links_hold_escaped_values() {
        let link = |template: &str| testing::templates(&[("link", template)], plain, None).link(&tell(fire()));
        let expected = "https://etherscan.io/tx/0xab%2Fcd?a=b";
        assert_eq!(link("https://etherscan.io/tx/{{ fields.tx_hash }}?a=b").as_deref(), Some(expected));
        assert_eq!(
            link("https://a.example/(x)|{{ title }}").as_deref(),
            Some("https://a.example/%28x%29%7CSandwich%20%3Cof%3E%2012.5%20ETH")
        );
        assert_eq!(link("https://a.example/{{ fields.gone }}"), None);
    }

    proptest! {
        #[test]
        fn values_are_cut_and_the_template_is_not(outgoing in testing::outgoing()) {
            let templates = testing::templates(&[("template", "<b>{{ title }}</b><i>{{ body }}</i>")], html, None);
            let text = templates.text.unwrap().render(&outgoing, |text| text.len() <= 300).unwrap();
            let inner = text.strip_prefix("<b>").and_then(|text| text.strip_suffix("</i>")).unwrap();
            let (title, body) = inner.split_once("</b><i>").unwrap();
            prop_assert!(!title.contains(['<', '>', '"']) && !body.contains(['<', '>', '"']));
        }
    }
}
