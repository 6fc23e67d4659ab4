//! Texts in the markup of services: escaped, and cut where they are too long.
//!
//! A value is escaped one character at a time, and a cut text ends with `…` after a whole escaped character:
//! neither a character nor an escape is ever split. Control characters but the line feed become spaces.

/// What ends a text that was cut.
pub(super) const CUT: char = '…';

/// The length of a text in UTF-16 code units: as Telegram counts, and never less than the characters that other
/// services count.
pub(super) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Appends one character of a value in the markup of a service.
pub(super) type Escape = fn(char, &mut String);

/// A value in the markup of a service.
pub(super) fn escaped(text: &str, escape: Escape) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    text.chars().for_each(|character| escape(printable(character), &mut out));
    out
}

/// A value in the markup of a service, with `…` behind what fits if not all of it does. What is escaped counts.
pub(super) fn fitted(text: &str, limit: usize, escape: Escape) -> String {
    let mut cut = String::new();
    escape(CUT, &mut cut);
    let room = limit.saturating_sub(units(&cut));
    let (mut out, mut used, mut fits) = (String::new(), 0, 0);
    let mut one = String::new();
    for character in text.chars() {
        one.clear();
        escape(printable(character), &mut one);
        used += units(&one);
        if used > limit {
            out.truncate(fits);
            out.push_str(if units(&cut) <= limit { &cut } else { "" });
            return out;
        }
        out.push_str(&one);
        if used <= room {
            fits = out.len();
        }
    }
    out
}

/// The first characters of a text, with `…` as the last one if it has more.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    fitted(text, limit, plain)
}

/// A text on one line, without spaces at its ends.
pub(super) fn one_line(text: &str) -> String {
    let printable: String = text.chars().map(printable).collect();
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Control characters say nothing to a reader and much to a terminal or a header; so do the characters that
/// turn the direction of a line.
fn printable(character: char) -> char {
    match character {
        '\n' => '\n',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => ' ',
        other if other.is_control() => ' ',
        other => other,
    }
}

/// No markup.
pub(super) fn plain(character: char, out: &mut String) {
    out.push(character);
}

/// Slack's mrkdwn. `&`, `<` and `>` are all that its syntax of links and mentions needs (Slack, "Formatting text
/// for app surfaces"); what begins bold, struck and code text or a mention is parted from its word by zero-width
/// spaces. `_` stays as it is: at worst a word is slanted, and names with it are often copied.
pub(super) fn mrkdwn(character: char, out: &mut String) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '*' | '~' | '`' | '@' => out.extend(['\u{200b}', character, '\u{200b}']),
        other => out.push(other),
    }
}

/// Discord's Markdown: a backslash before every character that may begin something, `@` and links included.
pub(super) fn discord(character: char, out: &mut String) {
    match character {
        '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '<' | '#' | '[' | ']' | '(' | ')' | '-' | ':' | '+' => {
            out.extend(['\\', character]);
        }
        '@' => out.push_str("@\u{200b}"),
        other => out.push(other),
    }
}

/// Telegram's MarkdownV2: a backslash before each of the characters that the Bot API lists.
pub(super) fn markdown_v2(character: char, out: &mut String) {
    if "_*[]()~`>#+-=|{}.!\\".contains(character) {
        out.push('\\');
    }
    out.push(character);
}

/// HTML, also between quotes of either kind.
pub(super) fn html(character: char, out: &mut String) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        other => out.push(other),
    }
}

/// A part of a URL: everything but letters, digits and `-._~` as percent escapes (RFC 3986, section 2.3).
pub(super) fn url_part(character: char, out: &mut String) {
    if character.is_ascii_alphanumeric() || "-._~".contains(character) {
        out.push(character);
        return;
    }
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        out.push_str(&format!("%{byte:02X}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Escape; 6] = [plain, mrkdwn, discord, markdown_v2, html, url_part];

    #[test]
    fn nothing_of_a_value_is_markup() {
        assert_eq!(escaped("<!channel> & <http://x|y>", mrkdwn), "&lt;!channel&gt; &amp; &lt;http://x|y&gt;");
        assert_eq!(escaped("[x](javascript:a)", discord), "\\[x\\]\\(javascript\\:a\\)");
        assert_eq!(escaped("@everyone", discord), "@\u{200b}everyone");
        assert_eq!(escaped("a.b!-1\\", markdown_v2), "a\\.b\\!\\-1\\\\");
        assert_eq!(escaped("<a href='x'>", html), "&lt;a href=&#39;x&#39;&gt;");
        assert_eq!(escaped("a/b?c=ü", url_part), "a%2Fb%3Fc%3D%C3%BC");
        assert_eq!(escaped("a\u{1b}[31m\r\nb\u{202e}", plain), "a [31m \nb ");
        assert_eq!(one_line(" a\r\n\tBcc: b\0c "), "a Bcc: b c");
    }

    #[test]
    fn an_escape_is_never_split() {
        assert_eq!(fitted("a..", 5, markdown_v2), "a\\.\\.");
        assert_eq!(fitted("a...", 5, markdown_v2), "a\\.…");
        assert_eq!(fitted("&&&", 14, html), "&amp;&amp;…");
        assert_eq!(shortened("😀😀😀", 4), "😀…");
        assert_eq!(fitted("äöü", 0, plain), "");
    }

    proptest! {
        #[test]
        fn fitted_texts_fit_and_begin_alike(text in any::<String>(), limit in 0usize..40, index in 0usize..6) {
            let escape = ALL[index];
            let whole = escaped(&text, escape);
            let cut = fitted(&text, limit, escape);
            prop_assert!(units(&cut) <= limit);
            if units(&whole) <= limit {
                prop_assert_eq!(cut, whole);
            } else {
                // What was kept is the escaped form of some first characters of the text, whole.
                let mark = escaped("…", escape);
                let kept = cut.strip_suffix(&mark).unwrap_or(&cut);
                let prefixes = (0..=text.chars().count()).map(|n| text.chars().take(n).collect::<String>());
                prop_assert!(prefixes.into_iter().any(|prefix| escaped(&prefix, escape) == kept));
            }
        }
    }
}
