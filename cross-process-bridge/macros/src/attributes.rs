//! Attributes of the user's items, on what is generated for them.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

/// Those attributes that say something about the bridge's method, too: when it is there, and all others.
pub(crate) fn carried(attributes: &[Attribute]) -> (Vec<Attribute>, Vec<Attribute>) {
    const CARRIED: [&str; 4] = ["doc", "deprecated", "must_use", "allow"];
    let mut cfgs = Vec::new();
    let mut others = Vec::new();
    for attribute in attributes {
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
    let all = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    all.map(|all| all.into_iter().skip(1).collect()).unwrap_or_default()
}
