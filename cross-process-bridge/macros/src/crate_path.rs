//! By which path generated code reaches the runtime.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// Paths that begin at the user's crate root, whatever is called how there.
#[derive(Clone)]
pub(crate) struct Runtime {
    /// The crate itself.
    pub(crate) root: TokenStream,
    /// What it has for generated code alone.
    pub(crate) rt: TokenStream,
}

impl Runtime {
    /// `given` is what `#[bridge(crate = path)]` says; without it, Cargo.toml is asked.
    pub(crate) fn find(given: Option<&syn::Path>) -> syn::Result<Runtime> {
        let root = match given {
            Some(path) => quote!(#path),
            None => named_in_manifest()?,
        };
        Ok(Runtime { rt: quote!(#root::__private), root })
    }
}

fn named_in_manifest() -> syn::Result<TokenStream> {
    let direct = |name: &str| {
        let name = Ident::new(name, Span::call_site());
        quote!(::#name)
    };
    match crate_name("cross-process-bridge") {
        // The runtime has itself as an extern crate, so that its own tests and examples agree.
        Ok(FoundCrate::Itself) => return Ok(direct("cross_process_bridge")),
        Ok(FoundCrate::Name(name)) => return Ok(direct(&name)),
        Err(_) => {}
    }
    let umbrella = match crate_name("multiprocess") {
        Ok(FoundCrate::Itself) => direct("multiprocess"),
        Ok(FoundCrate::Name(name)) => direct(&name),
        Err(_) => {
            return Err(syn::Error::new(
                Span::call_site(),
                "Cargo.toml has neither `cross-process-bridge` nor `multiprocess` among its dependencies: add one, or \
                 say where the crate is, as in `#[bridge(crate = some_crate::cross_process_bridge)]`",
            ));
        }
    };
    Ok(quote!(#umbrella::cross_process_bridge))
}
