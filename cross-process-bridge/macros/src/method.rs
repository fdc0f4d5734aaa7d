//! A method of the block, as it is bridged.

use syn::{Attribute, FnArg, Generics, Ident, ImplItemFn, PatType, ReturnType, Signature, Type, Visibility};

use crate::argument::Argument;
use crate::attributes::carried;
use crate::closure::{Closure, Parameters};
use crate::fitting::{goes_on_fits, implement_fits, options_fit};
use crate::options::MethodOptions;
use crate::problems::Problems;
use crate::result::{Makes, Returned};
use crate::signature::{changes, generics, kind, plain, receiver};
use crate::stream::{self, Stream};
use crate::substitute::SelfIs;

/// A method that is bridged.
pub(crate) struct Method {
    /// Its place among the functions of the block.
    pub(crate) number: u16,
    pub(crate) name: Ident,
    /// What the bridge calls it.
    pub(crate) bridge_name: Ident,
    pub(crate) vis: Visibility,
    /// When it is there at all.
    pub(crate) cfgs: Vec<Attribute>,
    /// What else the bridge's method is marked with.
    pub(crate) attributes: Vec<Attribute>,
    /// Lifetimes, and closures' types.
    pub(crate) generics: Generics,
    pub(crate) kind: Kind,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) returned: Returned,
    /// If it returns an iterator; `returned` is what it returns beside that.
    pub(crate) stream: Option<Stream>,
    /// It has the object alone.
    pub(crate) changes: bool,
    pub(crate) one_way: bool,
    /// As it was written.
    pub(crate) signature: Signature,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Constructor(Makes),
    /// No object is involved.
    Associated,
    /// `&self` or `&mut self`.
    Lent,
    /// `self`.
    Consuming,
}

impl Method {
    /// `None`: it isn't bridged, because its author says so or because something is wrong. `implement`: the bridge
    /// is to implement the block's trait.
    pub(crate) fn of(
        function: &ImplItemFn,
        options: MethodOptions,
        number: u16,
        self_is: &SelfIs<'_>,
        implement: bool,
        problems: &mut Problems,
    ) -> Option<Method> {
        if options.skip {
            return None;
        }
        let mut own = Problems::default();
        let method = Method::read(function, options, number, self_is, implement, &mut own);
        let wrong = own.is_any();
        problems.append(own);
        method.filter(|_| !wrong)
    }

    /// Goes on after each mistake, to find others.
    fn read(
        function: &ImplItemFn,
        options: MethodOptions,
        number: u16,
        self_is: &SelfIs<'_>,
        implement: bool,
        problems: &mut Problems,
    ) -> Option<Method> {
        let signature = &function.sig;
        problems.check(plain(signature));
        let bounds = problems.check(self_is.replaced_generics(&signature.generics));
        let closures = bounds.as_ref().map(Parameters::of).unwrap_or_default();
        let generics = problems.check(generics(&bounds?, &closures));
        let receiver = problems.check(receiver(signature.receiver(), self_is.object));
        let arguments = arguments(signature, self_is, &closures, problems);
        let (cfgs, attributes) = carried(&function.attrs);
        let output = match &signature.output {
            ReturnType::Default => Returned::unit(),
            ReturnType::Type(_, ty) => problems.check(self_is.replaced::<Type>(ty))?,
        };
        let kind = problems.check(kind(receiver?, signature, &output, self_is.object))?;
        let stream = match kind {
            Kind::Constructor(_) => None,
            _ => problems.check(stream::of(&output))?,
        };
        let returned = match (kind, &stream) {
            (Kind::Constructor(_), _) => Ok(Returned::of_constructor(&output)),
            (_, Some(stream)) => Returned::of(&stream.beside(), options.remote_error),
            (_, None) => Returned::of(&output, options.remote_error),
        };
        let mut returned = problems.check(returned)?;
        returned.is_unit &= stream.is_none();
        options_fit(signature, &options, kind, &arguments, &returned, problems);
        goes_on_fits(signature, &options, kind, &arguments, stream.is_some(), implement, problems);
        if implement {
            implement_fits(signature, &options, problems);
        }
        Some(Method {
            number,
            name: signature.ident.clone(),
            bridge_name: options.rename.unwrap_or_else(|| signature.ident.clone()),
            vis: function.vis.clone(),
            cfgs,
            attributes,
            generics: generics?,
            kind,
            arguments,
            returned,
            stream,
            changes: changes(signature.receiver()),
            one_way: options.one_way.is_some(),
            signature: signature.clone(),
        })
    }

    /// Whether it is lent closures.
    pub(crate) fn has_closures(&self) -> bool {
        self.arguments.iter().any(|argument| argument.closure.is_some())
    }

    /// Its closures, with their numbers.
    pub(crate) fn closures(&self) -> impl Iterator<Item = (u32, &Argument, &Closure)> {
        let closures =
            self.arguments.iter().filter_map(|argument| Some((argument, argument.closure.as_ref()?)));
        (0u32..).zip(closures).map(|(number, (argument, closure))| (number, argument, closure))
    }

    /// Whether the bridge's own way of starting, or of stopping, goes around a call of this one.
    pub(crate) fn is_around(&self, name: &str) -> bool {
        self.bridge_name == name
            && (self.kind == Kind::Lent || name == "stop" && self.kind == Kind::Consuming)
    }
}

/// The arguments of a function, its `self` aside.
pub(crate) fn typed(signature: &Signature) -> impl Iterator<Item = &PatType> {
    signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    })
}

fn arguments(
    signature: &Signature,
    self_is: &SelfIs<'_>,
    closures: &Parameters,
    problems: &mut Problems,
) -> Vec<Argument> {
    let mut arguments = Vec::new();
    for (index, argument) in typed(signature).enumerate() {
        let of =
            self_is.replaced::<Type>(&argument.ty).and_then(|ty| Argument::of(argument, ty, index, closures));
        arguments.extend(problems.check(of));
    }
    arguments
}
