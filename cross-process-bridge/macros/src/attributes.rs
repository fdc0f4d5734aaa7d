//! Attributes of the user's items, on what is generated for them.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{AttrStyle, Attribute, Meta, Token};

/// Those attributes that say something about the bridge's method, too: when it is there, and all others. What stands in
/// the method's body is about that.
pub(crate) fn carried(attributes: &[Attribute]) -> (Vec<Attribute>, Vec<Attribute>) {
    const CARRIED: [&str; 4] = ["doc", "deprecated", "must_use", "allow"];
    let mut cfgs = Vec::new();
    let mut others = Vec::new();
    let outer = attributes.iter().filter(|attribute| matches!(attribute.style, AttrStyle::Outer));
    for attribute in outer {
        let all = conditional(attribute);
        let is = |name: &str| {
            attribute.path().is_ident(name) || all.iter().any(|conditional| conditional.path().is_ident(name))
        };
        if is("cfg") {
            cfgs.push(attribute.clone());
        } else if CARRIED.iter().any(|name| is(name)) {
            others.push(attribute.clone());
        }
    }
    (cfgs, others)
}

/// The attributes that a `cfg_attr` has; none, if it is another one.
pub(crate) fn conditional(attribute: &Attribute) -> Vec<Meta> {
    if !attribute.path().is_ident("cfg_attr") {
        return Vec::new();
    }
    arguments(attribute).into_iter().skip(1).collect()
}

fn arguments(attribute: &Attribute) -> Vec<Meta> {
    let all = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    all.map(|all| all.into_iter().collect()).unwrap_or_default()
}

/// What is true where a `#[cfg(..)]`, or the one in a `#[cfg_attr(.., cfg(..))]`, keeps its item.
pub(crate) fn condition(cfg: &Attribute) -> TokenStream {
    if cfg.path().is_ident("cfg") {
        return cfg.parse_args().unwrap_or_default();
    }
    let (when, conditional) = (arguments(cfg).into_iter().next(), conditional(cfg));
    let kept = conditional.iter().filter(|meta| meta.path().is_ident("cfg"));
    let kept = kept.filter_map(|meta| Some(&meta.require_list().ok()?.tokens));
    quote!(any(not(#when), all(#(#kept),*)))
}
