//! The asynchronous twins of bridges: what the methods of a block are there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt;
use std::path::{Path, PathBuf};

use cross_process_bridge::{BridgeError, Crosses, RemoteError, Timeout, Zygote, bridge};

cross_process_bridge::init_before_main!();

/// With a life of its own.
struct Service<T> {
    known: Vec<T>,
    label: PathBuf,
}

#[bridge(traits(Describe, Display, Debug), fields(label: PathBuf))]
impl<T: fmt::Debug> Service<T> {
    fn new(label: &Path) -> Result<Self, String> {
        Ok(Service { known: Vec::new(), label: label.to_owned() })
    }

    fn start(&mut self, first: T, told: &mut Vec<String>) {
        self.known.push(first);
        told.push("started".to_owned());
    }

    fn stop(&mut self, told: &mut Vec<String>) -> usize {
        told.push("stopped".to_owned());
        self.known.len()
    }

    fn put(&mut self, value: T, place: impl Into<Option<usize>>) -> usize {
        let place = place.into().unwrap_or(self.known.len());
        self.known.insert(place, value);
        place
    }

    fn fill(&self, bytes: &mut [u8], name: impl AsRef<str>, more: Option<&Path>) -> Vec<u8> {
        bytes.fill(name.as_ref().len() as u8);
        vec![u8::from(more.is_some()); 2]
    }

    #[bridge(one_way)]
    fn forget(&mut self) {
        self.known.clear();
    }

    #[bridge(remote_error)]
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn pid() -> u32 {
        std::process::id()
    }

    fn finish(self) -> Vec<T> {
        self.known
    }
}

impl<T: fmt::Debug> fmt::Display for Service<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.label.display().fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Service<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.known.fmt(f)
    }
}

trait Describe {
    fn describe(&self, twice: bool) -> Result<String, Lost>;
    /// What bridges have of their own is theirs.
    fn process(&self) -> Result<u32, Lost>;
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Lost(String);

impl From<BridgeError> for Lost {
    fn from(error: BridgeError) -> Lost {
        Lost(error.to_string())
    }
}

#[bridge(implement)]
impl<T: fmt::Debug> Describe for Service<T> {
    fn describe(&self, twice: bool) -> Result<String, Lost> {
        Ok(if twice { format!("{self:?}{self:?}") } else { format!("{self:?}") })
    }

    fn process(&self) -> Result<u32, Lost> {
        Ok(std::process::id())
    }
}

async fn started<T: Crosses + Send + fmt::Debug>(first: T) -> AsyncServiceBridge<T> {
    let service = ServiceBridge::<T>::new(Path::new("/label"));
    service.process().launch_in(&Zygote::global());
    let (service, mut told) = (service.to_async(), Vec::new());
    service.start(first, &mut told).await.unwrap();
    assert_eq!(told, ["started"]);
    service
}

/// On several threads, so that every future has to be one that can move.
fn spread(test: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(test).await.unwrap() });
}

#[test]
fn each_method_has_an_asynchronous_one() {
    spread(async {
        let service = started("first".to_owned()).await;
        assert_eq!(service.put("second".to_owned(), None).await.unwrap(), 1);
        assert_eq!(service.put("zeroth".to_owned(), 0).await.unwrap(), 0);
        let mut bytes = [0; 5000];
        assert_eq!(service.fill(&mut bytes, "name", Some(Path::new("p"))).await.unwrap(), [1, 1]);
        assert_eq!(bytes, [4; 5000]);
        assert!(!service.read(Path::new("/proc/self/comm")).await.unwrap().unwrap().is_empty());
        let error: RemoteError = service.read(Path::new("/nowhere")).await.unwrap().unwrap_err();
        assert!(error.type_name().contains("io"));
        assert_eq!(Some(service.pid().await.unwrap()), service.process().pid());
        let hasty = service.with_timeout(Timeout::after(std::time::Duration::from_secs(60)));
        assert_eq!(hasty.describe(false).await.unwrap().unwrap(), r#"["zeroth", "first", "second"]"#);
        hasty.forget().await.unwrap();
        assert_eq!(service.to_debug_string().await.unwrap(), "[]");
        let mut told = Vec::new();
        assert_eq!(service.stop(&mut told).await.unwrap(), 0);
        assert_eq!(told, ["stopped"]);
        assert!(!service.process().is_alive());
        assert!(matches!(service.put(String::new(), 0).await.unwrap_err(), BridgeError::NotStarted { .. }));
    });
}

#[test]
fn a_trait_may_have_what_a_bridge_has() {
    let service = ServiceBridge::<u8>::new(Path::new("/label"));
    service.process().launch_in(&Zygote::global());
    service.start(7, &mut Vec::new()).unwrap();
    assert_eq!(Some(Describe::process(&service).unwrap()), service.process().pid());
    service.stop(&mut Vec::new()).unwrap();
}

#[test]
fn fields_traits_and_the_end() {
    spread(async {
        let service = started(7_u8).await;
        assert_eq!(service.label().await.unwrap(), Path::new("/label"));
        service.set_label("/other".into()).await.unwrap();
        assert_eq!(service.to_string().await.unwrap(), "/other");
        assert_eq!(service.describe(true).await.unwrap().unwrap(), "[7][7]");
        assert_eq!(service.clone().finish().await.unwrap(), [7]);
        assert!(matches!(service.label().await.unwrap_err(), BridgeError::NotStarted { .. }));
    });
}
