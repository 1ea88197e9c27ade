//! What others wrote (names, paths, subjects of commits), as a report may show it.
//!
//! A report becomes a comment: a pipe would end a table's cell, a backtick a name,
//! `<!--` hide the rest, an image load something, and an `@name` call somebody.

use std::borrow::Cow;

/// Text as code: all of it is shown as it is, in a table too.
pub(crate) fn code(text: &str) -> String {
    let text = text.replace(|c: char| c.is_control(), " ");
    // A pipe ends a cell even in code, and GitHub takes the backslash away again.
    let text = text.replace('|', "\\|");
    // The fence must be longer than any within.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Text as it is where Markdown makes nothing of it, and as code elsewhere.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let means = |c: char| c.is_control() || "|`@<>[]*\\&#~".contains(c);
    if text.contains(means) {
        code(text).into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_holds_whatever_is_in_it() {
        for (text, shown) in [
            ("a::b", "`a::b`"),
            ("a|b", "`a\\|b`"),
            ("a`b", "``a`b``"),
            ("`a` and ``b``", "``` `a` and ``b`` ```"),
            ("a\nb\r| c", "`a b \\| c`"),
            ("", "``"),
        ] {
            assert_eq!(code(text), shown, "{text:?}");
        }
    }

    #[test]
    fn text_that_means_something_is_code() {
        for text in [
            "the culprit",
            "shadow: get_or_alloc, 3 % (r44)",
            "rustc 1.95.0",
        ] {
            assert_eq!(plain(text), text);
        }
        for text in [
            "thanks, @all",
            "<!-- a",
            "![](x)",
            "a | b",
            "#7",
            "two\nlines",
        ] {
            assert_eq!(plain(text), code(text));
        }
    }
}
