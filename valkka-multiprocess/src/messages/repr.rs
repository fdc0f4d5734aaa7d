//! Values as Python shows them, safe for a terminal and a log.

use std::fmt::{self, Write};

use super::value::Value;

/// How much of a text that somebody else chose goes into an error, in characters.
pub(super) const SHORT: usize = 80;

/// As Python's `repr`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("None"),
            Value::Bool(true) => f.write_str("True"),
            Value::Bool(false) => f.write_str("False"),
            Value::Int(n) => write!(f, "{n}"),
            Value::Float(x) if x.is_nan() => f.write_str("nan"),
            Value::Float(x) => write!(f, "{x:?}"),
            Value::Text(text) => quoted(f, text),
            Value::Bytes(bytes) => {
                f.write_str("b'")?;
                for &byte in bytes {
                    match byte {
                        b'\'' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                        b' '..=b'~' => f.write_char(byte.into())?,
                        b'\n' => f.write_str("\\n")?,
                        b'\r' => f.write_str("\\r")?,
                        b'\t' => f.write_str("\\t")?,
                        _ => write!(f, "\\x{byte:02x}")?,
                    }
                }
                f.write_char('\'')
            }
            Value::List(values) => {
                f.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_char(']')
            }
            reply if reply.is_reply() => f.write_str("<Reply>"),
            Value::Map(entries) => {
                f.write_char('{')?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_char('}')
            }
        }
    }
}

/// As its `Display`.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text between quotation marks: double ones if it has single ones only.
pub(super) fn quoted(f: &mut impl Write, text: &str) -> fmt::Result {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    f.write_char(mark)?;
    for c in text.chars() {
        if c == mark || c == '\\' {
            f.write_char('\\')?;
            f.write_char(c)?;
        } else {
            plain(f, c)?;
        }
    }
    f.write_char(mark)
}

/// A character, escaped if it isn't one to be seen: neither lines nor a terminal's commands come in through a text.
fn plain(f: &mut impl Write, c: char) -> fmt::Result {
    match (c, u32::from(c)) {
        ('\n', _) => f.write_str("\\n"),
        ('\r', _) => f.write_str("\\r"),
        ('\t', _) => f.write_str("\\t"),
        ('\'' | '"' | '\\', _) => f.write_char(c),
        (_, code) if c.escape_debug().len() > 1 => match code {
            ..0x100 => write!(f, "\\x{code:02x}"),
            0x100..0x1_0000 => write!(f, "\\u{code:04x}"),
            _ => write!(f, "\\U{code:08x}"),
        },
        _ => f.write_char(c),
    }
}

/// What `shown` writes, cut if it is longer than `max` characters.
pub(super) fn short(shown: impl fmt::Display, max: usize) -> String {
    /// Ends the writing when it has what it needs.
    struct Cut {
        text: String,
        left: usize,
    }
    impl Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for c in text.chars() {
                let Some(left) = self.left.checked_sub(1) else {
                    self.text.push_str("...");
                    return Err(fmt::Error);
                };
                self.left = left;
                self.text.push(c);
            }
            Ok(())
        }
    }
    let mut cut = Cut { text: String::new(), left: max };
    // Its only error is that there was enough.
    let _ = write!(cut, "{shown}");
    cut.text
}

/// Text without quotation marks, on one line.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| plain(f, c))
    }
}

/// A name that somebody else chose, cut if it is long.
pub(crate) fn unquoted(name: &str) -> String {
    short(Plain(name), SHORT)
}

/// A name that somebody else chose, between quotation marks, cut if it is long.
pub(super) fn name(name: &str) -> String {
    struct Quoted<'a>(&'a str);
    impl fmt::Display for Quoted<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            quoted(f, self.0)
        }
    }
    short(Quoted(name), SHORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_python_shows_them() {
        let value = Value::List(vec![
            Value::Nil,
            Value::Bool(true),
            Value::Int(-3),
            Value::Float(2.0),
            Value::Float(f64::NAN),
            Value::Float(f64::NEG_INFINITY),
            Value::Text("it's".to_owned()),
            Value::Text("\"it's\"\n\u{1b}[31m\u{202e}\u{e9}".to_owned()),
            Value::Bytes(b"a\x00'".to_vec()),
            Value::Map(vec![(Value::Text("k".to_owned()), Value::List(vec![]))]),
        ]);
        assert_eq!(
            value.to_string(),
            r#"[None, True, -3, 2.0, nan, -inf, "it's", '"it\'s"\n\x1b[31m\u202e"#.to_owned()
                + "\u{e9}"
                + r#"', b'a\x00\'', {'k': []}]"#
        );
    }

    #[test]
    fn what_goes_into_an_error_is_cut() {
        assert_eq!(name("x"), "'x'");
        let long = name(&"x".repeat(1_000_000));
        assert!(long.starts_with("'xx") && long.ends_with("xx..."), "{long}");
        assert_eq!(long.len(), SHORT + 3);
    }
}
