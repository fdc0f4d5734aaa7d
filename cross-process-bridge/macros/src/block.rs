//! The impl block: which type it is about, and what of it is bridged.

use quote::format_ident;
use syn::{Attribute, Generics, Ident, ImplItem, ImplItemFn, ItemImpl, Path, Type, Visibility};

use crate::attributes::carried;
use crate::check;
use crate::crate_path::Runtime;
use crate::fitting::threads_fit;
use crate::header;
use crate::known;
use crate::method::Method;
use crate::names;
use crate::options::{BlockOptions, Field, MethodOptions};
use crate::problems::Problems;
use crate::signature::is_constructor;
use crate::substitute::SelfIs;

/// A block that is bridged.
pub(crate) struct Block {
    pub(crate) runtime: Runtime,
    /// When it is there at all.
    pub(crate) cfgs: Vec<Attribute>,
    /// Those of the block. The bounds say also that every type parameter's values can cross.
    pub(crate) generics: Generics,
    /// The names of the parameters, in the order in which the object's type has them.
    pub(crate) parameters: Vec<Ident>,
    pub(crate) object: Type,
    /// The last word of the object's type.
    pub(crate) name: Ident,
    /// The bridge, without its parameters.
    pub(crate) bridge: Path,
    pub(crate) methods: Vec<Method>,
    pub(crate) of: Of,
}

/// What the block is about.
pub(crate) enum Of {
    Object(Object),
    Trait(Trait),
}

/// The type's own block.
pub(crate) struct Object {
    pub(crate) vis: Visibility,
    /// Each one's place is its interface's number, less one.
    pub(crate) traits: Vec<Listed>,
    pub(crate) fields: Vec<Field>,
    /// How many threads carry out its methods, if more than one.
    pub(crate) threads: Option<usize>,
    /// How many functions there are: the fields' numbers come after theirs.
    pub(crate) functions: u16,
}

/// A trait that the type's own block lists.
pub(crate) enum Listed {
    Display,
    Debug,
    /// It has a block of its own.
    Block(Ident),
}

impl Listed {
    /// The bridge's method that has what the trait writes.
    pub(crate) fn text(&self) -> Option<&'static str> {
        match self {
            Listed::Display => Some("to_string"),
            Listed::Debug => Some("to_debug_string"),
            Listed::Block(_) => None,
        }
    }
}

/// A block that implements a trait.
pub(crate) struct Trait {
    pub(crate) path: Path,
    /// The last word of that.
    pub(crate) name: Ident,
    pub(crate) vis: Visibility,
    /// The bridge has the trait, too.
    pub(crate) implement: bool,
    /// There is no method that can't be bridged: half a trait is none.
    pub(crate) whole: bool,
    /// Its constants and types.
    pub(crate) associated: Vec<ImplItem>,
}

impl Block {
    /// `of_methods`: the options of each function. `None`: there is too little to go on with.
    pub(crate) fn of(
        options: BlockOptions,
        item: &ItemImpl,
        of_methods: Vec<Option<MethodOptions>>,
        problems: &mut Problems,
    ) -> Option<Block> {
        problems.check(header::options_fit(item, &options))?;
        let runtime = problems.check(Runtime::find(options.krate.as_ref()))?;
        let path = problems.check(header::object(item))?;
        let self_is = problems.check(SelfIs::of(item))?;
        let generics = problems.check(header::generics(item, &runtime, &self_is))?;
        let last = path.segments.last()?.ident.clone();
        let bridge = problems.check(header::bridge(item, &path, &options))?;
        // Another place for one is the trait that is about nothing else.
        let makes = |of: &Path| of.segments.last().is_some_and(|last| last.ident == "Default");
        let asks_for_constructor = item.trait_.is_none() && !options.traits.iter().any(makes);
        let has_constructor = functions(item).any(|function| is_constructor(&function.sig, &self_is));
        let implement = options.implement.is_some();
        let mut block = Block {
            runtime,
            cfgs: carried(&item.attrs).0,
            generics,
            parameters: header::parameters(item),
            object: (*item.self_ty).clone(),
            name: last,
            bridge,
            methods: methods(item, of_methods, implement, &self_is, problems),
            of: of(item, options, &self_is, problems),
        };
        block.choose_vis();
        if let Of::Object(Object { threads: Some(_), .. }) = &block.of {
            threads_fit(&block.methods, problems);
        }
        names::clash(&mut block, problems);
        if asks_for_constructor && !has_constructor {
            problems.at(
                &item.self_ty,
                "no other process can make an object without a constructor: add a function that returns `Self`, \
                 `Result<Self, _>` or `Option<Self>` (with `#[bridge(skip)]`, if bridges come from `from_fn` alone); if \
                 the type has another block with `#[bridge]`, write all in that one",
            );
            // The bridge of the other block isn't to be declared twice.
            return None;
        }
        Some(block)
    }

    /// Without a word about it the bridge is as visible as its most visible method.
    fn choose_vis(&mut self) {
        let Of::Object(object) = &mut self.of else { return };
        if matches!(object.vis, Visibility::Inherited) {
            let methods = self.methods.iter().map(|method| &method.vis);
            let all = methods.chain(object.fields.iter().map(|field| &field.vis));
            object.vis = all.max_by_key(|vis| width(vis)).cloned().unwrap_or(Visibility::Inherited);
        }
    }
}

/// So wide, as far as can be said: in a shorter path there is more, behind more of `super` as well, and hardly anybody
/// writes a path from the crate's root for less than `super`.
fn width(vis: &Visibility) -> (u8, isize) {
    match vis {
        Visibility::Inherited => (0, 0),
        Visibility::Restricted(restricted) => {
            let (path, length) = (&restricted.path, restricted.path.segments.len() as isize);
            match path.segments.first() {
                Some(first) if first.ident == "crate" => (2, -length),
                _ if path.is_ident("self") => (0, 0),
                _ => (1, length),
            }
        }
        Visibility::Public(_) => (3, 0),
    }
}

fn functions(item: &ItemImpl) -> impl Iterator<Item = &ImplItemFn> {
    item.items.iter().filter_map(|item| match item {
        ImplItem::Fn(function) => Some(function),
        _ => None,
    })
}

/// `options`: of each function, if they can be read.
fn methods(
    item: &ItemImpl,
    options: Vec<Option<MethodOptions>>,
    implement: bool,
    self_is: &SelfIs<'_>,
    problems: &mut Problems,
) -> Vec<Method> {
    let mut methods = Vec::new();
    for (number, (function, options)) in (0u16..).zip(functions(item).zip(options)) {
        let Some(options) = options else { continue };
        methods.extend(Method::of(function, options, number, self_is, implement, problems));
    }
    methods
}

fn of(item: &ItemImpl, options: BlockOptions, self_is: &SelfIs<'_>, problems: &mut Problems) -> Of {
    let vis = options.vis.unwrap_or(Visibility::Inherited);
    let Some(path) = self_is.implemented() else {
        for field in &options.fields {
            problems.check(check::field(&field.ty));
        }
        let listed = options.traits.iter().filter_map(|path| {
            if known::segment(path, "Display").is_some() {
                Some(Listed::Display)
            } else if known::segment(path, "Debug").is_some() {
                Some(Listed::Debug)
            } else {
                path.segments.last().map(|last| Listed::Block(last.ident.clone()))
            }
        });
        return Of::Object(Object {
            vis,
            traits: listed.collect(),
            fields: options.fields,
            threads: options.threads,
            functions: functions(item).count() as u16,
        });
    };
    let associated = item.items.iter().filter(|item| matches!(item, ImplItem::Const(_) | ImplItem::Type(_)));
    Of::Trait(Trait {
        name: path.segments.last().map_or_else(|| format_ident!("Trait"), |last| last.ident.clone()),
        path: path.clone(),
        vis,
        implement: options.implement.is_some(),
        whole: !problems.is_any(),
        associated: associated.cloned().collect(),
    })
}
