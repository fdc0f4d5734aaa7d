//! Everything that is wrong with one block, reported together.

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::ToTokens;

/// What was found so far.
#[derive(Default)]
pub(crate) struct Problems(Option<syn::Error>);

impl Problems {
    /// Adds one, at the place of these tokens.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(known) => known.combine(error),
            none => *none = Some(error),
        }
    }

    /// What there is of a result; its error is added.
    pub(crate) fn check<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// Adds what another list has.
    pub(crate) fn append(&mut self, others: Problems) {
        if let Some(others) = others.0 {
            self.add(others);
        }
    }

    pub(crate) fn is_any(&self) -> bool {
        self.0.is_some()
    }

    /// As errors of the compiler's; nothing, if there are none.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.0.map(syn::Error::into_compile_error).unwrap_or_default()
    }
}
