//! No lint finds anything in generated code, however strict its user is. What this file itself is full of is allowed.
#![deny(warnings, unused, future_incompatible, rust_2018_idioms, missing_docs, missing_debug_implementations)]
#![deny(unreachable_pub, unnameable_types, unused_qualifications, unused_lifetimes, single_use_lifetimes)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]
#![deny(clippy::shadow_reuse, clippy::shadow_unrelated, clippy::let_underscore_must_use)]
#![forbid(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::missing_const_for_fn, clippy::needless_pass_by_ref_mut, clippy::needless_pass_by_value)]
#![allow(clippy::ptr_arg, clippy::unused_self, clippy::redundant_pub_crate)]

/// As a library's module is.
pub mod library {
    use std::fmt;
    use std::path::PathBuf;

    use cross_process_bridge::{BridgeError, bridge};

    /// With everything that a block may have.
    #[derive(Debug)]
    pub struct Thing {
        label: String,
        path: PathBuf,
    }

    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Hidden(u8);

    #[bridge(traits(Named, Filling, Display), fields(pub label: String, path: PathBuf))]
    impl Thing {
        /// Makes one.
        #[must_use]
        pub fn new(label: &str) -> Self {
            Self { label: label.to_owned(), path: PathBuf::new() }
        }

        /// Doesn't.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn failing(label: &str) -> Result<Self, String> {
            Err(label.to_owned())
        }

        /// Writes.
        pub fn fill(&self, list: &mut Vec<u8>, slice: &mut [u8], text: impl AsRef<str>) -> usize {
            list.push(1);
            slice.fill(1);
            text.as_ref().len()
        }

        /// As long as both.
        #[must_use]
        pub fn longer<'both>(&'both self, text: &'both str) -> bool {
            self.label.len() > text.len()
        }

        /// Of a type that only this crate knows.
        pub(crate) fn hidden(&self) -> Hidden {
            Hidden(self.private())
        }

        fn private(&self) -> u8 {
            u8::from(self.label.is_empty())
        }

        /// Of old.
        #[deprecated(note = "it is old")]
        #[must_use]
        pub fn old(&self) -> u8 {
            self.hidden().0
        }

        /// With many arguments.
        #[must_use]
        #[expect(
            clippy::too_many_arguments,
            clippy::many_single_char_names,
            reason = "that is what it is for"
        )]
        #[expect(non_snake_case, reason = "so is this")]
        pub fn Crowd(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> [u8; 8] {
            [a, b, c, d, e, f, g, h]
        }

        /// Takes it.
        #[must_use = "the path is gone otherwise"]
        pub fn finish(self) -> PathBuf {
            self.path
        }

        /// Goes around the bridge's.
        ///
        /// # Errors
        ///
        /// Never.
        pub fn start(&mut self) -> Result<(), String> {
            self.label.push('!');
            Ok(())
        }

        /// One after another.
        pub fn letters(&self) -> impl Iterator<Item = char> + '_ {
            self.label.chars()
        }

        /// Of a directory.
        ///
        /// # Errors
        ///
        /// There is none.
        #[bridge(remote_error)]
        pub fn entries(&self) -> std::io::Result<Box<dyn Iterator<Item = PathBuf>>> {
            Ok(Box::new(std::fs::read_dir(&self.path)?.filter_map(Result::ok).map(|entry| entry.path())))
        }

        /// Lends all that can be lent.
        pub fn each<F>(
            &mut self,
            first: F,
            second: &mut dyn FnMut(&[u8]),
            third: Option<impl Fn(u8) -> u8>,
        ) -> u8
        where
            F: Fn(&str) -> bool,
        {
            second(self.label.as_bytes());
            third.map_or(0, |apply| apply(u8::from(first(&self.label))))
        }

        /// Nobody waits for it.
        #[bridge(one_way)]
        pub fn note(&mut self) {
            self.label.push('?');
        }
    }

    impl fmt::Display for Thing {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.label)
        }
    }

    /// With threads.
    #[derive(Debug)]
    pub struct Several(u8);

    #[bridge(threads = 2)]
    impl Several {
        /// Makes one.
        #[must_use]
        pub const fn new(number: u8) -> Self {
            Self(number)
        }

        /// Shares it.
        #[must_use]
        pub const fn get(&self) -> u8 {
            self.0
        }

        /// Changes it.
        pub const fn set(&mut self, number: u8) {
            self.0 = number;
        }
    }

    /// A trait.
    pub trait Named {
        /// The name.
        fn name(&self) -> String;
        /// The name, or another one.
        fn name_or(&self, other: Option<&str>) -> String;
    }

    #[bridge]
    impl Named for Thing {
        fn name(&self) -> String {
            self.label.clone()
        }

        fn name_or(&self, other: Option<&str>) -> String {
            other.unwrap_or(&self.label).to_owned()
        }
    }

    /// A trait that bridges have, too.
    pub trait Filling {
        /// Fills.
        ///
        /// # Errors
        ///
        /// If the process is gone.
        fn fill_list(&self, list: &mut Vec<u8>) -> Result<(), Lost>;
    }

    /// The process is gone.
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub struct Lost;

    impl From<BridgeError> for Lost {
        fn from(_: BridgeError) -> Self {
            Self
        }
    }

    #[bridge(implement)]
    impl Filling for Thing {
        fn fill_list(&self, list: &mut Vec<u8>) -> Result<(), Lost> {
            list.push(0);
            Ok(())
        }
    }
}

mod application {
    struct Alone;

    #[cross_process_bridge::bridge]
    impl Alone {
        const fn new() -> Self {
            Self
        }

        const fn never_called(&self) {}
    }
}
