//! `to_char(time, format)` with PostgreSQL's format words: DataFusion's function knows only those with a percent sign
//! (chrono's), and would give back the words.

use datafusion_common::ScalarValue;
use datafusion_expr::Expr;
use datafusion_expr::expr::ScalarFunction;

/// PostgreSQL's words and what they are to chrono, a longer word before a shorter one that begins it.
const WORDS: [(&str, &str); 23] = [
    ("YYYY", "%Y"),
    ("IYYY", "%G"),
    ("YY", "%y"),
    ("FMMonth", "%B"),
    ("Mon", "%b"),
    ("MM", "%m"),
    ("FMDay", "%A"),
    ("Dy", "%a"),
    ("DDD", "%j"),
    ("DD", "%d"),
    ("ID", "%u"),
    ("IW", "%V"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("MS", "%3f"),
    ("SS", "%S"),
    ("US", "%6f"),
    ("am", "%P"),
    ("pm", "%P"),
    ("AM", "%p"),
    ("PM", "%p"),
];

/// The call with its format in chrono's words; `None` if it is no such call, or its format has a percent sign.
pub(crate) fn plan_format(function: &ScalarFunction) -> Option<Expr> {
    let [time, Expr::Literal(format, metadata)] = function.args.as_slice() else { return None };
    let text = format.try_as_str()??;
    if function.func.name() != "to_char" || text.contains('%') {
        return None;
    }
    let translated = translated(text);
    if translated == text {
        return None;
    }
    let format = Expr::Literal(ScalarValue::Utf8(Some(translated)), metadata.clone());
    Some(Expr::ScalarFunction(ScalarFunction { func: function.func.clone(), args: vec![time.clone(), format] }))
}

fn translated(format: &str) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let quoted = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
        if let Some((text, behind)) = quoted {
            out.push_str(text);
            rest = behind;
            continue;
        }
        // Words of numbers may be in lower case.
        let begins = |word: &str| {
            let number = !word.contains(|letter: char| letter.is_lowercase());
            let head = rest.get(..word.len());
            head.is_some_and(|head| head == word || (number && head == word.to_lowercase()))
        };
        match WORDS.iter().find(|(word, _)| begins(word)) {
            Some((word, chrono)) => {
                out.push_str(chrono);
                rest = &rest[word.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::translated;

    #[test]
    fn words_of_postgresql() {
        assert_eq!(translated("YYYY-MM-DD HH24:MI:SS.MS"), "%Y-%m-%d %H:%M:%S.%3f");
        assert_eq!(translated("yyyy/mm/dd"), "%Y/%m/%d");
        assert_eq!(translated("YYYY-MM-DD\"T\"HH12:MI am"), "%Y-%m-%dT%I:%M %P");
        assert_eq!(translated("Dy, DD Mon YY"), "%a, %d %b %y");
    }
}
