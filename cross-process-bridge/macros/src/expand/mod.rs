//! Generated code, made of the model.

mod asynchronous;
mod bridge_type;
mod client;
mod dispatch;
mod docs;
mod fields;
mod object;
pub(crate) mod parts;
mod traits;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Item, ItemImpl};

use crate::block::{Block, Of};
use crate::options::{BlockOptions, MethodOptions};
use crate::problems::Problems;

/// The user's block, what is generated for it, and what is wrong with it: one mistake isn't to hide another, nor to
/// make the compiler complain of all that follows from it.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut problems = Problems::default();
    let mut block = match read(item.clone()) {
        Ok(block) => block,
        Err(error) => {
            problems.add(error);
            let errors = problems.into_tokens();
            return quote!(#item #errors);
        }
    };
    let methods = MethodOptions::take_all(&mut block, &mut problems);
    let options = problems.check(BlockOptions::parse(arguments));
    let model = options.and_then(|options| Block::of(options, &block, methods, &mut problems));
    let generated = model.map(|model| generated(&model)).unwrap_or_default();
    let errors = problems.into_tokens();
    quote!(#block #generated #errors)
}

fn generated(block: &Block) -> TokenStream {
    match &block.of {
        Of::Object(object) => object::generated(block, object),
        Of::Trait(of) => traits::generated(block, of),
    }
}

fn read(item: TokenStream) -> syn::Result<ItemImpl> {
    let place = match syn::parse2::<Item>(item)? {
        Item::Impl(block) => return Ok(block),
        Item::Struct(_) | Item::Enum(_) | Item::Union(_) => {
            "above the impl block that has the type's methods"
        }
        Item::Trait(_) => "above an implementation of the trait: `#[bridge] impl Trait for Type`",
        Item::Fn(_) => "above the impl block whose method it is; for a function alone, start a process",
        _ => "above an impl block",
    };
    Err(syn::Error::new(proc_macro2::Span::call_site(), format!("`#[bridge]` belongs {place}")))
}
