//! Access to fields: two methods for each.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use crate::block::{Block, Object};
use crate::expand::client::On;
use crate::expand::docs;
use crate::expand::parts::hidden;
use crate::names::setter;
use crate::options::Field;
use crate::owned::{Owned, place};

/// A field, with the numbers of what reads and what sets it.
struct Numbered<'a> {
    field: &'a Field,
    get: u16,
    set: u16,
}

fn numbered(object: &Object) -> impl Iterator<Item = Numbered<'_>> {
    let numbers = (object.functions..).step_by(2);
    object.fields.iter().zip(numbers).map(|(field, get)| Numbered { field, get, set: get + 1 })
}

/// The bridge's methods.
pub(crate) fn methods(block: &Block, object: &Object, on: On) -> TokenStream {
    let (rt, root) = (&block.runtime.rt, &block.runtime.root);
    let (asyncness, wait) = on.words();
    let (came, value) = (hidden("came"), hidden("value"));
    let both = numbered(object).map(|Numbered { field: Field { vis, name, ty }, get, set }| {
        let owned = Owned::of(ty);
        let (set_name, wire) = (setter(name), owned.wire(rt));
        let (get, set) = (block.method(get, name), block.method(set, &set_name));
        let doc = format!("The field `{name}` of the {}.", docs::link(block, ""));
        let set_doc = format!("Sets the field `{name}` of the {}.", docs::link(block, ""));
        let read = match owned.is_plain() {
            true => quote!(self.handle.call::<(), _, #wire>(#get, &())#wait),
            false => {
                let of_came = owned.of_wire(rt, quote!(#came));
                quote! {
                    let #came = self.handle.call::<(), _, #wire>(#get, &())#wait?;
                    ::core::result::Result::Ok(#of_came)
                }
            }
        };
        let sent = if owned.is_plain() { quote!(&#value) } else { owned.to_wire(rt, quote!(#value)) };
        quote! {
            #[doc = #doc]
            #vis #asyncness fn #name(&self) -> ::core::result::Result<#ty, #root::BridgeError> { #read }
            #[doc = #set_doc]
            #vis #asyncness fn #set_name(&self, #value: #ty) -> ::core::result::Result<(), #root::BridgeError> {
                self.handle.call::<(#wire,), _, ()>(#set, &(#sent,))#wait
            }
        }
    });
    quote!(#(#both)*)
}

/// The arms of the object's side.
pub(crate) fn arms(block: &Block, of: &Object, call: &Ident) -> Vec<TokenStream> {
    let rt = &block.runtime.rt;
    let object = hidden("object");
    let both = numbered(of).map(|Numbered { field: Field { name, ty, .. }, get, set }| {
        let owned = Owned::of(ty);
        // If the field has another type, this is the place.
        let came = Ident::new("came", Span::mixed_site().located_at(place(&owned.ty)));
        let (wire, value) = (owned.wire(rt), owned.of_wire(rt, quote!(#came)));
        // With `*`, so that of a field that isn't there the compiler says the same twice, which it shows once.
        let field = quote!((*#object).#name);
        let read = match owned.is_plain() {
            true => quote!(answer_field(|#object| &#field)),
            false => {
                let copy = owned.to_wire(rt, quote!(::core::clone::Clone::clone(&#field)));
                quote!(answer_shared(|#object, (): ()| #copy))
            }
        };
        quote! {
            #get => #call.#read,
            #set => #call.answer(|#object, (#came,): (#wire,)| { #field = #value; }),
        }
    });
    both.collect()
}
