//! What the documentation says of generated methods.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Meta};

use crate::block::{Block, Of};
use crate::method::{Kind, Method};

/// The method's own, or a line in its place.
pub(crate) fn method(block: &Block, method: &Method) -> TokenStream {
    let attributes = &method.attributes;
    if attributes.iter().any(is_doc) {
        return quote!(#(#attributes)*);
    }
    let of = match &block.of {
        Of::Object(_) => link(block, &method.name.to_string()),
        Of::Trait(of) => format!("[`{}::{}`]", of.name, method.name),
    };
    let text = match method.kind {
        Kind::Constructor(_) => {
            format!("A bridge to an object that {of} will make, in the process that `start` starts.")
        }
        _ if method.one_way => format!("Has {of} called in the object's process, and doesn't wait for that."),
        Kind::Consuming => format!("Calls {of} in the object's process, which ends then."),
        _ => format!("Calls {of} in the object's process."),
    };
    quote!(#[doc = #text] #(#attributes)*)
}

fn is_doc(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc") && matches!(attribute.meta, Meta::NameValue(_))
}

/// A link to the object, or to a member of it.
pub(crate) fn link(block: &Block, member: &str) -> String {
    let separator = if member.is_empty() { "" } else { "::" };
    format!("[`{}{separator}{member}`]({}{separator}{member})", block.name, block.way())
}
