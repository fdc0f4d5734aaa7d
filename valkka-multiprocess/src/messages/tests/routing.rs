//! From a message to its handler, without one.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{MessageObject, Value};
use crate::message;
use crate::messages::routes::{Routes, parameters};
use crate::{Backend, Context, ParameterError, RemoteError, RouteError, Router};

#[derive(Debug, PartialEq, Deserialize)]
struct Ping {
    #[serde(default)]
    lis: Vec<i32>,
    #[serde(alias = "count")]
    n: u8,
    name: Option<String>,
}

fn taken<P: DeserializeOwned>(message: &MessageObject) -> Result<P, RouteError> {
    parameters(message)
}

fn refusal<P: DeserializeOwned + std::fmt::Debug>(message: &MessageObject) -> String {
    taken::<P>(message).unwrap_err().to_string()
}

#[test]
fn parameters_are_the_fields_of_a_struct() {
    let ping = taken::<Ping>(&message!("ping", n = 3, lis = [1], name = "x")).unwrap();
    assert_eq!(ping, Ping { lis: vec![1], n: 3, name: Some("x".to_owned()) });
    let ping = taken::<Ping>(&message!("ping", count = 3)).unwrap();
    assert_eq!(ping, Ping { lis: vec![], n: 3, name: None });
}

#[test]
fn no_parameters() {
    #[derive(Debug, Deserialize)]
    struct Nothing;
    #[derive(Debug, Deserialize)]
    struct Empty {}
    taken::<()>(&message!("quit")).unwrap();
    taken::<Nothing>(&message!("quit")).unwrap();
    taken::<Empty>(&message!("quit")).unwrap();
    let one = message!("quit", now = true);
    let error = "the command 'quit' wasn't carried out: there is no parameter 'now': there are none";
    assert_eq!([refusal::<()>(&one), refusal::<Nothing>(&one), refusal::<Empty>(&one)], [error; 3]);
}

#[test]
fn all_parameters_as_they_are() {
    #[derive(Debug, Deserialize)]
    struct Rest {
        n: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }
    #[derive(Debug, Deserialize)]
    struct Wrapper(Ping);
    let message = message!("ping", n = 3, more = "x");
    assert_eq!(taken::<BTreeMap<String, Value>>(&message).unwrap().len(), 2);
    let Rest { n, rest } = taken(&message).unwrap();
    assert_eq!((n, &rest["more"]), (3, &super::text("x")));
    assert_eq!(taken::<Wrapper>(&message!("ping", n = 3)).unwrap().0.n, 3);
}

#[test]
fn missing_extra_and_wrong_parameters() {
    let error = |message| taken::<Ping>(&message).unwrap_err();
    let command = "ping".to_owned();
    assert_eq!(
        error(message!("ping", lis = [1])),
        RouteError::Parameter { command, error: ParameterError::Missing { parameter: "n".to_owned() } }
    );
    assert_eq!(
        error(message!("ping", n = 3, m = 4)).to_string(),
        "the command 'ping' wasn't carried out: there is no parameter 'm': there are 'lis', 'count', 'n', 'name'"
    );
    assert_eq!(
        error(message!("ping", n = 300)).to_string(),
        "the command 'ping' wasn't carried out: the parameter 'n' must be u8, and is integer `300`"
    );
    assert_eq!(
        error(message!("ping", n = 3, lis = [Some(1), None])).to_string(),
        "the command 'ping' wasn't carried out: the parameter 'lis'[1] must be i32, and is unit value"
    );
    assert!(error(message!("ping", n = 3, count = 3)).to_string().contains("duplicate field"));
    assert!(error(message!("ping", n = Some(()))).to_string().contains("can't be sent"));
    assert!(refusal::<u8>(&message!("ping")).contains("list as a whole must be u8, and is map"));
}

#[test]
fn an_unknown_command_is_told_the_nearest_one() {
    let mut routes = Routes::new();
    for name in ["stop", "ping", "start", "pause"] {
        routes.add(name, name);
    }
    assert_eq!(routes.names().collect::<Vec<_>>(), ["pause", "ping", "start", "stop"]);
    assert_eq!(routes.find(&message!("stop")).unwrap(), &"stop");
    assert_eq!(
        routes.find(&message!("pign")).unwrap_err().to_string(),
        "there is no command 'pign': there are 'ping', 'pause', 'stop', 'start'"
    );
    let long = routes.find(&MessageObject::new("\n".repeat(1_000_000))).unwrap_err().to_string();
    assert!(long.len() < 250 && !long.contains('\n'), "{long}");
    let none = Routes::<()>::new().find(&message!("ping")).unwrap_err();
    assert_eq!(none.to_string(), "there is no command 'ping': there are none");
    let mut many = Routes::new();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    names.into_iter().for_each(|name| many.add(name, ()));
    assert!(many.find(&message!("j")).is_ok());
    assert!(many.find(&message!("k")).unwrap_err().to_string().ends_with("and 2 more"));
}

#[test]
fn a_router_is_shared_by_threads_whatever_its_back_end_is() {
    struct Local(std::rc::Rc<u8>);
    impl Backend for Local {
        type Command = MessageObject;
        type Event = u8;
        fn handle(&mut self, cx: &mut Context<Self>, message: MessageObject) -> Result<(), RemoteError> {
            ROUTES.route(self, cx, message)
        }
    }
    impl Local {
        fn tell(&mut self, cx: &mut Context<Self>, (): ()) -> Result<(), RemoteError> {
            Ok(cx.send_out(&self.0)?)
        }
    }
    static ROUTES: LazyLock<Router<Local>> =
        LazyLock::new(|| Router::new().on("tell", Local::tell).on("nothing", |_, _, _: Ping| Ok(())));
    assert_eq!(format!("{:?}", *ROUTES), r#"{"nothing", "tell"}"#);
}

#[test]
#[should_panic(expected = "the command 'ping' has two handlers")]
fn a_command_has_one_handler() {
    let mut routes = Routes::new();
    routes.add("ping", ());
    routes.add("ping", ());
}
