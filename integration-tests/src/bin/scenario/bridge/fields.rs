//! Fields of bridged types, and names.

use std::path::PathBuf;

use cross_process_bridge::bridge;

use crate::Outcome::{self, Passed};
use crate::bridge::traits::Named;

scenarios![
    fields_are_read_and_set,
    an_object_in_a_module_of_its_own,
    types_named_like_the_standard_librarys_do_not_matter,
    a_block_may_be_written_by_a_macro,
    no_prelude_is_needed,
    a_bridge_is_as_wide_as_its_widest_method,
];

/// Its fields can be reached.
struct Settings {
    label: String,
    limits: (u32, Vec<u8>),
    r#type: Option<PathBuf>,
}

#[bridge(fields(pub(crate) label: String, limits: (u32, Vec<u8>), r#type: Option<PathBuf>))]
impl Settings {
    fn new() -> Settings {
        Settings { label: String::new(), limits: (0, Vec::new()), r#type: None }
    }

    fn shown(&self) -> String {
        format!("{} {:?} {:?}", self.label, self.limits, self.r#type)
    }
}

fn fields_are_read_and_set() -> Outcome {
    let settings = SettingsBridge::new();
    settings.start().unwrap();
    settings.set_label("l".to_owned()).unwrap();
    settings.set_limits((1, vec![2; 3])).unwrap();
    settings.set_type(Some(PathBuf::from("p"))).unwrap();
    assert_eq!(settings.shown().unwrap(), r#"l (1, [2, 2, 2]) Some("p")"#);
    assert_eq!((settings.label().unwrap(), settings.limits().unwrap()), ("l".to_owned(), (1, vec![2; 3])));
    assert_eq!(settings.r#type().unwrap(), Some(PathBuf::from("p")));
    Passed
}

mod inner {
    pub(crate) mod deeper {
        pub(crate) struct Hidden(pub(crate) u8);
    }

    use cross_process_bridge::bridge;

    /// As visible as its most visible method.
    #[bridge(traits(Named))]
    impl deeper::Hidden {
        pub(crate) fn new() -> Self {
            Self(7)
        }

        pub(super) fn number(&self) -> u8 {
            self.private()
        }

        fn private(&self) -> u8 {
            self.0
        }
    }

    pub(super) fn private_of(hidden: &HiddenBridge) -> u8 {
        hidden.private().unwrap()
    }
}

#[bridge(name = inner::HiddenBridge)]
impl Named for inner::deeper::Hidden {
    const KIND: &'static str = "hidden";

    fn name(&self) -> String {
        format!("{} {}", Self::KIND, self.0)
    }
}

fn an_object_in_a_module_of_its_own() -> Outcome {
    let hidden = inner::HiddenBridge::new();
    hidden.start().unwrap();
    assert_eq!((hidden.number().unwrap(), inner::private_of(&hidden)), (7, 7));
    assert_eq!(hidden.name().unwrap(), "hidden 7");
    Passed
}

/// Names that the standard library, and generated code, have as well.
mod names {
    #![allow(dead_code, reason = "they are there to be taken for others")]
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(crate) struct String(pub(crate) u8);
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(crate) struct Vec(pub(crate) u8);
    pub(crate) struct Result;
    pub(crate) struct Option;
    pub(crate) trait Into {}
    pub(crate) trait From {}
    pub(crate) struct Ok;
    pub(crate) struct Some;
    pub(crate) mod core {}
    pub(crate) mod std {}
    pub(crate) struct Handle;
    pub(crate) struct Method;

    pub(crate) struct Call {
        pub(crate) string: String,
        pub(crate) __private: Vec,
    }

    #[cross_process_bridge::bridge(fields(string: String))]
    impl Call {
        pub(crate) fn of(string: String, vec: &Vec) -> Self {
            Call { string, __private: Vec(vec.0) }
        }

        pub(crate) fn both(&self, string: &mut String, object: &[Vec]) -> (String, Vec) {
            string.0 += object.len() as u8;
            (String(self.string.0), Vec(self.__private.0))
        }
    }
}

fn types_named_like_the_standard_librarys_do_not_matter() -> Outcome {
    let call = names::CallBridge::of(names::String(1), &names::Vec(2));
    call.start().unwrap();
    let mut string = names::String(3);
    let (first, second) = call.both(&mut string, &[names::Vec(4)]).unwrap();
    assert_eq!((first.0, second.0, string.0), (1, 2, 4));
    Passed
}

/// A block in a macro, whose types come in invisible brackets.
macro_rules! doubling {
    ($type:ident, $number:ty, $path:ty) => {
        struct $type($number);

        #[bridge]
        impl $type {
            fn new(number: $number) -> Self {
                $type(number)
            }

            fn doubled(&self) -> $number {
                self.0.clone() + &self.0
            }

            fn path(&self, path: $path) -> $path {
                path
            }
        }
    };
}

doubling!(Text, String, PathBuf);

fn a_block_may_be_written_by_a_macro() -> Outcome {
    let text = TextBridge::new("a".to_owned());
    text.start().unwrap();
    assert_eq!(text.doubled().unwrap(), "aa");
    let odd = PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff"));
    assert_eq!(text.path(odd.clone()).unwrap(), odd);
    Passed
}

/// Nothing is there but what is named.
#[allow(clippy::module_inception, reason = "the attribute is of a module")]
#[no_implicit_prelude]
mod bare {
    pub(crate) struct Bare;

    #[::cross_process_bridge::bridge]
    impl Bare {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn turned(
            &self,
            mut bytes: ::std::vec::Vec<u8>,
            path: &mut ::std::path::PathBuf,
        ) -> ::std::vec::Vec<u8> {
            path.push("b");
            bytes.reverse();
            bytes
        }
    }
}

fn no_prelude_is_needed() -> Outcome {
    let bare = bare::BareBridge::new();
    bare.start().unwrap();
    let mut path = PathBuf::from("a");
    assert_eq!(bare.turned(vec![1, 2], &mut path).unwrap(), [2, 1]);
    assert_eq!(path, PathBuf::from("a/b"));
    Passed
}

mod outer {
    pub(super) mod middle {
        mod deep {
            pub(in crate::bridge::fields) struct Wide;

            #[cross_process_bridge::bridge]
            impl Wide {
                pub(in crate::bridge::fields) fn new() -> Self {
                    #![allow(unused_variables, reason = "it is about the body")]
                    let unused = ();
                    Self
                }

                pub(in crate::bridge::fields) fn number(&self) -> u8 {
                    //! This, too.
                    7
                }

                pub(super) fn narrow(&self) {}
            }
        }

        pub(in crate::bridge::fields) use deep::WideBridge;

        pub(in crate::bridge::fields) fn narrow(wide: &WideBridge) {
            wide.narrow().unwrap();
        }
    }
}

fn a_bridge_is_as_wide_as_its_widest_method() -> Outcome {
    let wide = outer::middle::WideBridge::new();
    wide.start().unwrap();
    outer::middle::narrow(&wide);
    assert_eq!(wide.number().unwrap(), 7);
    Passed
}
