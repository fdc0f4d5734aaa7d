//! Methods of the bridge: they send their arguments, and wait for what comes back.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::{Receiver, ReceiverKind, Token, Visibility};

use crate::argument::Argument;
use crate::block::{Block, Of};
use crate::expand::docs;
use crate::expand::parts::{attributes, hidden, numbered, tuple};
use crate::method::{Kind, Method};

/// Whose method it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// The bridge's.
    Bridge,
    /// Its asynchronous twin's.
    Twin,
    /// A trait's, as the bridge implements that.
    Trait,
}

impl On {
    /// What stands before `fn`, and after a call.
    pub(crate) fn words(self) -> (TokenStream, TokenStream) {
        match self {
            On::Bridge | On::Trait => (quote!(), quote!()),
            On::Twin => (quote!(async), quote!(.await)),
        }
    }
}

/// A method that calls the object's.
pub(crate) fn method(block: &Block, method: &Method, on: On) -> TokenStream {
    let (cfgs, (generics, _, clause)) = (attributes(&method.cfgs), method.generics.split_for_impl());
    let (arguments, body) = (arguments(method), body(block, method, on));
    let returned = returned(block, method, on);
    if on == On::Trait {
        let (name, receiver) = (&method.name, method.signature.receiver().map(receiver_of));
        return quote! {
            #cfgs
            fn #name #generics (#receiver, #arguments) -> #returned #clause { #body }
        };
    }
    let (docs, vis, name, root) =
        (docs::method(block, method), vis(block, method), &method.bridge_name, &block.runtime.root);
    let receiver = match method.kind {
        Kind::Consuming if !method.is_around("stop") => quote!(self),
        _ => quote!(&self),
    };
    // Should there be another one of this name, the compiler shows the user's.
    let place = Span::call_site().located_at(name.span());
    let asyncness = (on == On::Twin).then(|| quote_spanned!(place=> async));
    let result = quote_spanned!(place=> ::core::result::Result<#returned, #root::BridgeError>);
    let function = quote_spanned!(place=>
        #asyncness fn #name #generics (#receiver, #arguments) -> #result #clause { #body }
    );
    quote!(#cfgs #docs #vis #function)
}

/// A function that makes a bridge.
pub(crate) fn constructor(block: &Block, method: &Method) -> TokenStream {
    let (rt, object) = (&block.runtime.rt, &block.object);
    let (cfgs, docs, vis) = (attributes(&method.cfgs), docs::method(block, method), vis(block, method));
    let (name, (generics, _, clause), arguments) =
        (&method.bridge_name, method.generics.split_for_impl(), arguments(method));
    let prepare = method.arguments.iter().map(|argument| argument.prepare());
    let kept: Vec<_> = method.arguments.iter().map(|argument| argument.kept(rt)).collect();
    let (wire, kept, number) = (method.wire(rt), tuple(&kept), block.method(method.number, &method.name));
    let is_marked = method.attributes.iter().any(|attribute| attribute.path().is_ident("must_use"));
    let must_use = (!is_marked).then(|| quote!(#[must_use = "there is no object before `start`"]));
    quote! {
        #cfgs #docs #must_use
        #vis fn #name #generics (#arguments) -> Self #clause {
            #(#prepare)*
            <Self as ::core::convert::From<#rt::Handle>>::from(#rt::Handle::new::<#object, #wire>(#number, #kept))
        }
    }
}

/// As visible as the object's; of a trait, as visible as its block says.
fn vis(block: &Block, method: &Method) -> Visibility {
    match &block.of {
        Of::Object(_) => method.vis.clone(),
        Of::Trait(of) if matches!(of.vis, Visibility::Inherited) => {
            Visibility::Public(Token![pub](method.bridge_name.span()))
        }
        Of::Trait(of) => of.vis.clone(),
    }
}

fn arguments(method: &Method) -> TokenStream {
    let names = method.arguments.iter().map(|argument| &argument.name);
    let types = method.arguments.iter().map(|argument| &argument.ty);
    quote!(#(#names: #types),*)
}

/// What the method returns, but for the bridge's own errors.
fn returned(block: &Block, method: &Method, on: On) -> TokenStream {
    let (rt, root) = (&block.runtime.rt, &block.runtime.root);
    match (&method.stream, on) {
        (None, _) => method.returned.ty(rt),
        (Some(stream), On::Twin) => {
            stream.ty(rt, &quote!(#root::AsyncBridgeStream), method.returned.is_remote())
        }
        (Some(stream), _) => stream.ty(rt, &quote!(#root::BridgeStream), method.returned.is_remote()),
    }
}

/// Without `mut`, which is the body's own matter.
fn receiver_of(receiver: &Receiver) -> TokenStream {
    match &receiver.kind {
        ReceiverKind::Reference(and, lifetime, mutability) => quote!(#and #lifetime #mutability self),
        ReceiverKind::Typed(colon, ty) => quote!(self #colon #ty),
        _ => quote!(self),
    }
}

fn body(block: &Block, method: &Method, on: On) -> TokenStream {
    let rt = &block.runtime.rt;
    let handle = block.handle();
    let (_, wait) = on.words();
    let prepare = method.arguments.iter().map(|argument| argument.prepare());
    let prepare = quote!(#(#prepare)*);
    let back: Vec<_> = method.arguments.iter().filter(|argument| argument.comes_back()).collect();
    let call = call(block, method, &handle);
    let came = hidden("came");
    if let Some(stream) = &method.stream {
        let opened = stream.opened(rt, quote!(#came));
        return quote!(#prepare let #came = #call #wait?; ::core::result::Result::Ok(#opened));
    }
    let value = method.returned.of_wire(rt, quote!(#came));
    let (starts, stops) = (method.is_around("start"), method.is_around("stop"));
    if back.is_empty() && value.is_none() && !starts && !stops && on != On::Trait {
        return quote!(#prepare #call #wait);
    }
    let start = starts.then(|| quote!(#handle.start()#wait?;));
    let stopped = hidden("stopped");
    // The process is stopped even if the call has failed, whose error comes first.
    let stop = stops.then(|| quote!(let #stopped = #handle.stop()#wait;));
    let stopped = stops.then(|| quote!(#stopped?;));
    let write = (!back.is_empty()).then(|| {
        let names = numbered("back", back.len());
        let fits = back
            .iter()
            .zip(&names)
            .map(|(argument, name)| argument.fits(rt, name, &block.called(&method.name)));
        let writes = back.iter().zip(&names).map(|(argument, name)| argument.write(rt, name));
        let pattern: Vec<_> = names.iter().map(|name| quote!(#name)).collect();
        let pattern = tuple(&pattern);
        quote!(let (#came, #pattern) = #came; #(#fits)* #(#writes)*)
    });
    let value = value.unwrap_or_else(|| quote!(#came));
    let value = if on == On::Trait { value } else { quote!(::core::result::Result::Ok(#value)) };
    quote! {
        #prepare
        #start
        let #came = #call #wait;
        #stop
        let #came = #came?;
        #stopped
        #write
        #value
    }
}

/// A `Result`, or a future of one, with what comes back.
fn call(block: &Block, method: &Method, handle: &TokenStream) -> TokenStream {
    let rt = &block.runtime.rt;
    let sent: Vec<_> = method.arguments.iter().map(|argument| argument.sent(rt)).collect();
    let sent = method.in_one(&sent);
    let (sent, inferred) =
        (quote_spanned!(method.asked_at()=> &#sent), quote_spanned!(method.asked_at()=> _));
    let (wire, number) = (method.wire(rt), block.method(method.number, &method.name));
    let answers = method.answers(rt);
    if method.stream.is_some() {
        return quote!(#handle.open::<#wire, #inferred, #answers>(#number, #sent));
    }
    if method.has_closures() {
        let (which, asked) = (hidden("which"), hidden("asked"));
        let arms = method
            .closures()
            .map(|(number, argument, closure)| closure.arm(rt, &argument.name, number, &asked));
        return quote! {
            #handle.call_with::<#wire, #inferred, #answers>(#number, #sent, |#which, #asked| match #which {
                #(#arms)*
                _ => #asked.unknown(),
            })
        };
    }
    if method.one_way {
        quote!(#handle.send::<#wire, #inferred>(#number, #sent))
    } else if method.kind == Kind::Consuming {
        quote!(#handle.finish::<#wire, #inferred, #answers>(#number, #sent))
    } else {
        quote!(#handle.call::<#wire, #inferred, #answers>(#number, #sent))
    }
}

impl Method {
    /// The arguments, as what the object's side reads them.
    pub(crate) fn wire(&self, rt: &TokenStream) -> TokenStream {
        let wire: Vec<_> = self.arguments.iter().map(|argument| argument.wire(rt)).collect();
        self.in_one(&wire)
    }

    /// A tuple of something of each argument, which stands where the compiler is first asked whether one crosses: of a
    /// type that doesn't it says so once for each place.
    fn in_one(&self, each: &[TokenStream]) -> TokenStream {
        let tuple = tuple(each);
        let mut tokens = tuple.into_iter();
        let Some(TokenTree::Group(mut group)) = tokens.next() else { return TokenStream::new() };
        group.set_span(self.asked_at());
        TokenTree::Group(group).into()
    }

    fn asked_at(&self) -> Span {
        self.arguments.iter().find_map(Argument::asked_at).unwrap_or_else(Span::call_site)
    }

    /// The answer: the result, and what is written back.
    pub(crate) fn answers(&self, rt: &TokenStream) -> TokenStream {
        let back = self.arguments.iter().filter(|argument| argument.comes_back());
        let back: Vec<_> = back.map(|argument| argument.wire(rt)).collect();
        let result = self.returned.wire(rt);
        if back.is_empty() {
            return result;
        }
        let (place, back) = (self.asked_at(), tuple(&back));
        quote_spanned!(place=> (#result, #back))
    }
}
