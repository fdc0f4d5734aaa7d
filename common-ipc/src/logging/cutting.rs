//! Texts that are cut to fit, and the count of what they have lost.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The beginning of a text that is no longer than `max`.
pub(super) fn beginning(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Cuts texts, and counts what they have lost.
#[derive(Default)]
pub(super) struct Scissors {
    /// Bytes.
    pub(super) cut: usize,
}

impl Scissors {
    /// The beginning of a text.
    pub(super) fn shorten<'a>(&mut self, text: &'a str, max: usize) -> Cow<'a, str> {
        let short = beginning(text, max);
        self.cut += text.len() - short.len();
        Cow::Borrowed(short)
    }

    /// What is displayed, which never takes more room than this.
    pub(super) fn display(&mut self, what: &dyn fmt::Display, max: usize) -> String {
        let mut written = Bounded { text: String::new(), left: max, cut: 0 };
        // A value whose Display fails is told as far as it went.
        let _ = write!(written, "{what}");
        self.cut += written.cut;
        written.text
    }
}

/// Takes so much, and counts the rest.
struct Bounded {
    text: String,
    left: usize,
    cut: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let short = beginning(text, self.left);
        self.text.push_str(short);
        self.cut += text.len() - short.len();
        // After a gap there is nothing more.
        self.left = if short.len() < text.len() { 0 } else { self.left - short.len() };
        Ok(())
    }
}
