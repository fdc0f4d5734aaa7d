//! Letters on pictures: eight pixels wide and high.

use font8x8::UnicodeFonts;

pub(crate) const LETTER: u32 = 8;

/// Text without what can't be drawn, cut to a length.
pub(crate) fn fit(text: &str, letters: usize) -> String {
    let drawn = |char| if glyph(char).is_some() { char } else { '?' };
    let mut fitting: String = text.chars().take(letters).map(drawn).collect();
    if text.chars().nth(letters).is_some() {
        fitting.pop();
        fitting.push('~');
    }
    fitting
}

/// Text in lines of so many letters at the most, broken between words where that can be.
pub(crate) fn wrap(text: &str, letters: usize, lines: usize) -> Vec<String> {
    let mut wrapped: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match wrapped.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= letters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => wrapped.push(word.to_owned()),
        }
    }
    let is_cut = wrapped.len() > lines;
    wrapped.truncate(lines);
    let mut wrapped: Vec<_> = wrapped.into_iter().map(|line| fit(&line, letters)).collect();
    if let Some(last) = wrapped.last_mut().filter(|_| is_cut) {
        *last = fit(&format!("{last} ..."), letters);
    }
    wrapped
}

/// The pixels of a text that are set, from its left upper corner.
pub(crate) fn pixels(text: &str) -> impl Iterator<Item = (u32, u32)> {
    text.chars().zip(0u32..).flat_map(|(char, place)| {
        let rows = glyph(char).unwrap_or_default();
        rows.into_iter().zip(0u32..).flat_map(move |(row, y)| {
            (0..LETTER).filter(move |x| row >> x & 1 == 1).map(move |x| (place * LETTER + x, y))
        })
    })
}

fn glyph(char: char) -> Option<[u8; 8]> {
    let basic = font8x8::BASIC_FONTS.get(char).filter(|_| !char.is_control());
    let latin = || font8x8::LATIN_FONTS.get(char);
    let greek = || font8x8::GREEK_FONTS.get(char);
    basic.or_else(latin).or_else(greek)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_wrapped() {
        assert_eq!(
            (fit("short", 5), fit("longer", 5), fit("a\nb\u{fffd}é", 9)),
            ("short".into(), "long~".into(), "a?b?é".into())
        );
        assert_eq!(wrap("it ends too early", 8, 9), ["it ends", "too", "early"]);
        assert_eq!(wrap("a b c d", 3, 1), ["a ~"]);
        assert!(wrap("", 3, 1).is_empty());
    }
}
