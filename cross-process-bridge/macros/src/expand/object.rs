//! What is generated for the type's own block.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Path;

use crate::block::{Block, Listed, Object};
use crate::expand::client::{self, On};
use crate::expand::parts::{attributes, hidden, number_of, quiet, server_of};
use crate::expand::{asynchronous, bridge_type, dispatch, fields};
use crate::method::Kind;
use crate::owned::place;

/// The bridge, its methods, the object's side, and the bridge's twin.
pub(crate) fn generated(block: &Block, object: &Object) -> TokenStream {
    let (cfgs, quiet) = (attributes(&block.cfgs), quiet());
    let ty = bridge_type::declared(block, object);
    let of = block.impl_of(&block.bridge);
    let (generics, clause, bridge) = (&of.generics, &of.clause, &of.ty);
    let constructors = constructors(block);
    let methods = methods(block, object, On::Bridge);
    let own = bridge_type::own_methods(block, object);
    let (bare, traits) = (&of.bare, hidden_members(object, &block.runtime.rt));
    let served = served(block, object);
    let twin = if cfg!(feature = "tokio") { asynchronous::twin(block, object) } else { TokenStream::new() };
    quote! {
        #ty
        #cfgs #quiet
        impl #generics #bridge #clause { #constructors #methods #own }
        // Without bounds: the block of a trait may have others.
        #cfgs #quiet
        impl #bare #bridge { #traits }
        #served
        #twin
    }
}

fn constructors(block: &Block) -> TokenStream {
    let all = block.methods.iter().filter(|method| matches!(method.kind, Kind::Constructor(_)));
    all.map(|method| client::constructor(block, method)).collect()
}

/// The methods that call the object's, of the bridge or of its twin.
pub(crate) fn methods(block: &Block, object: &Object, on: On) -> TokenStream {
    let all = block.methods.iter().filter(|method| !matches!(method.kind, Kind::Constructor(_)));
    let mut methods: TokenStream = all.map(|method| client::method(block, method, on)).collect();
    methods.extend(fields::methods(block, object, on));
    methods.extend(texts(block, object, on));
    methods
}

/// What `Display` and `Debug` are for.
fn texts(block: &Block, object: &Object, on: On) -> TokenStream {
    let root = &block.runtime.root;
    let rt = &block.runtime.rt;
    let (asyncness, wait) = on.words();
    let vis = &object.vis;
    let each = (1u16..).zip(&object.traits).filter_map(|(interface, of)| {
        let name = of.text()?;
        let (called, name) = (format!("{}::{name}", block.name), format_ident!("{name}"));
        let doc = match of {
            Listed::Debug => "What the object's `Debug` writes.",
            _ => "What the object's `Display` writes.",
        };
        Some(quote! {
            #[doc = #doc]
            #vis #asyncness fn #name(&self) -> ::core::result::Result<::std::string::String, #root::BridgeError> {
                self.handle.call::<(), _, ::std::string::String>(#rt::Method::new(#interface, 0, #called), &())#wait
            }
        })
    });
    each.collect()
}

/// What the blocks of traits need, on the bridge and on its twin.
pub(crate) fn hidden_handle(handle: &TokenStream) -> TokenStream {
    quote! {
        #[doc(hidden)]
        pub(crate) fn __bridge_handle(&self) -> &#handle { &self.handle }
    }
}

fn hidden_members(object: &Object, rt: &TokenStream) -> TokenStream {
    let handle = hidden_handle(&quote!(#rt::Handle));
    let numbers = (1u16..).zip(&object.traits).filter_map(|(interface, of)| {
        let Listed::Block(name) = of else { return None };
        let number = number_of(name);
        Some(quote!(#[doc(hidden)] pub(crate) const #number: ::core::primitive::u16 = #interface;))
    });
    quote!(#handle #(#numbers)*)
}

/// The object's side.
fn served(block: &Block, object: &Object) -> TokenStream {
    let (cfgs, quiet, rt) = (attributes(&block.cfgs), quiet(), &block.runtime.rt);
    let of = block.impl_of(&block.bridge);
    let (generics, clause, bridge) = (&of.generics, &of.clause, &of.ty);
    let (ty, name, call) = (&block.object, block.name.to_string(), hidden("call"));
    let own = dispatch::by_method(block, &call, &fields::arms(block, object, &call));
    let of_traits = (1u16..).zip(&object.traits).map(|(interface, of)| {
        let it = hidden("object");
        let served = match of {
            Listed::Display => {
                quote!(#call.answer_shared(|#it, (): ()| ::std::string::ToString::to_string(&*#it)))
            }
            Listed::Debug => quote!(#call.answer_shared(|#it, (): ()| ::std::format!("{:?}", &*#it))),
            Listed::Block(name) => {
                let server = server_of(name);
                quote!(<#ty>::#server(#call))
            }
        };
        quote!(#interface => #served,)
    });
    let crew = object.threads.as_ref().map(|threads| {
        let place = place(&quote!(#ty));
        // What is asked of the object's type is asked where that stands.
        let crew = quote_spanned!(place=> #rt::crew::<#ty, #threads>());
        quote! {
            const THREADS: ::core::primitive::usize = #threads;

            fn crew() -> #rt::Crew<Self> { #crew }
        }
    });
    quote! {
        #cfgs #quiet
        impl #generics #rt::Bridged for #ty #clause {
            type Bridge = #bridge;
            const NAME: &'static ::core::primitive::str = #name;
            #crew

            fn serve(#call: #rt::Call<'_, Self>) -> #rt::Served {
                match #call.interface() {
                    0 => #own,
                    #(#of_traits)*
                    _ => #call.unknown(),
                }
            }
        }
    }
}

impl Block {
    /// The way to the object's type, as text.
    pub(crate) fn way(&self) -> String {
        let way = |path: &Path| {
            let words: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            words.join("::")
        };
        crate::known::path(&self.object).map(way).unwrap_or_default()
    }
}
