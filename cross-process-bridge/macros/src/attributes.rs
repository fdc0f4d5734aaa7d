//! Attributes of the user's items, on what is generated for them.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

use crate::problems::Problems;

/// Those attributes that say something about the bridge's method, too: when it is there, and all others.
pub(crate) fn carried(attributes: &[Attribute], problems: &mut Problems) -> (Vec<Attribute>, Vec<Attribute>) {
    const CARRIED: [&str; 4] = ["doc", "deprecated", "must_use", "allow"];
    let mut cfgs = Vec::new();
    let mut others = Vec::new();
    for attribute in attributes {
        if attribute.path().is_ident("cfg") {
            cfgs.push(attribute.clone());
        } else if CARRIED.iter().any(|name| attribute.path().is_ident(name)) {
            others.push(attribute.clone());
        } else if attribute.path().is_ident("cfg_attr") {
            let Some(conditional) = problems.check(conditional(attribute)) else { continue };
            let is = |name: &str| conditional.iter().any(|meta| meta.path().is_ident(name));
            if conditional
                .iter()
                .any(|meta| meta.path().segments.last().is_some_and(|last| last.ident == "bridge"))
            {
                problems.at(attribute, "`#[bridge(..)]` on a method can't depend on a `cfg`: write two methods, with a `#[cfg]` each");
            } else if is("cfg") {
                cfgs.push(attribute.clone());
            } else if CARRIED.iter().any(|name| is(name)) {
                others.push(attribute.clone());
            }
        }
    }
    (cfgs, others)
}

/// The attributes that a `cfg_attr` has.
fn conditional(attribute: &Attribute) -> syn::Result<Vec<Meta>> {
    let all = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
    Ok(all.into_iter().skip(1).collect())
}
