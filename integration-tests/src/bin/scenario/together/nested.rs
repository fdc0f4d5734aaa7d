//! Kinds of processes within each other: a worker's task that has a bridge, whose object has a task, that has another one.

use common_ipc::process::{Child, JoinError, LaunchOptions};
use cross_process_bridge::{BridgeError, RemoteError, bridge};
use integration_tests::proc;
use nix::sys::signal::Signal as NixSignal;
use pkit::{ProcessPool, WorkError, WorkerPool};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, ProcessError, Reply};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{Death, die};
use crate::servers::{kill, zygote};
use crate::together::{PATIENCE, Pids, WAYS, Way, gone, note, noted, pairs, run};
use crate::workers::result;

scenarios![
    together_results_come_up_through_all_levels,
    together_panics_come_up_with_their_causes,
    fault_14_together_deaths_come_up_with_their_causes,
    fault_13_together_a_kill_at_each_level_is_told_above,
    fault_27_together_the_top_that_is_killed_leaves_nothing_below,
    together_the_other_way_round,
];

/// What the lowest one does.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum End {
    Square(u64),
    Panic,
    Die(Death),
    Fail,
    Hang,
}

/// How each level starts the next one, what the lowest does, and where each writes down who it is: the worker, the object, the
/// upper task, the lower one.
#[derive(Clone, Serialize, Deserialize)]
struct Plan {
    ways: [Way; 3],
    end: End,
    pids: Pids,
}

impl Plan {
    fn new((above, below): (Way, Way), end: End) -> Plan {
        Plan { ways: [above, below, above], end, pids: Pids::new(4).unwrap() }
    }

    /// Whoever is to hand it on is given what it shares.
    fn options(&self) -> LaunchOptions {
        LaunchOptions::new().give(&self.pids)
    }

    fn note(&self, place: usize) {
        note(&self.pids, place, std::process::id());
    }
}

/// The lowest level.
fn lower(plan: Plan) -> Result<u64, RemoteError> {
    plan.note(3);
    match plan.end {
        End::Square(number) => return Ok(number * number),
        End::Panic => panic!("at the bottom"),
        End::Die(death) => die(death),
        End::Fail => return Err(RemoteError::msg("no figure")),
        End::Hang => std::thread::sleep(std::time::Duration::from_secs(600)),
    }
    Err(RemoteError::msg("it goes on"))
}

fn upper(plan: Plan) -> Result<u64, RemoteError> {
    plan.note(2);
    let task = plan.ways[2].task(plan.options(), lower, plan);
    Ok(task.output::<Result<u64, RemoteError>>()?? + 1)
}

struct Middle {
    task: Option<Child>,
}

#[bridge]
impl Middle {
    fn new() -> Middle {
        Middle { task: None }
    }

    fn ask(&mut self, plan: Plan) -> Result<u64, RemoteError> {
        plan.note(1);
        let task = plan.ways[1].task(plan.options(), upper, plan);
        self.task = Some(task.clone());
        Ok(task.output::<Result<u64, RemoteError>>()?? + 10)
    }

    /// Whether it is as good as ever.
    fn has_task_that_ended(&self) -> bool {
        self.task.as_ref().is_some_and(|task| task.try_wait().is_ok_and(|status| status.is_some()))
    }
}

/// What a worker does.
fn top(plan: Plan) -> Result<u64, RemoteError> {
    plan.note(0);
    let middle = MiddleBridge::new();
    plan.ways[0].of_bridge(middle.process());
    middle.start()?;
    let asked = match middle.ask(plan) {
        Err(error @ BridgeError::PeerDied { .. }) => return Err(error.into()),
        asked => asked?,
    };
    assert!(middle.has_task_that_ended()?);
    middle.stop()?;
    Ok(asked? + 100)
}

fn submit(pool: &WorkerPool, plan: &Plan) -> Result<Result<u64, RemoteError>, WorkError> {
    result(pool.submit(top, plan.clone()).unwrap())
}

fn pool() -> WorkerPool {
    zygote();
    WorkerPool::new(2).unwrap()
}

fn together_results_come_up_through_all_levels() -> Outcome {
    let pool = pool();
    for ways in pairs() {
        for number in 1..=5 {
            let plan = Plan::new(ways, End::Square(number));
            assert_eq!(submit(&pool, &plan).unwrap().unwrap(), number * number + 111);
            let all = noted(&plan.pids, 4);
            gone(&all[1..]);
        }
    }
    assert_eq!(pool.statistics().unwrap().started, 2);
    pool.close().unwrap();
    Passed
}

fn together_panics_come_up_with_their_causes() -> Outcome {
    let pool = pool();
    for ways in pairs() {
        for (end, words) in
            [(End::Panic, ["at the bottom", "together/nested.rs"]), (End::Fail, ["no figure", ""])]
        {
            let plan = Plan::new(ways, end);
            let error = submit(&pool, &plan).unwrap().unwrap_err();
            let text = error.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
            gone(&noted(&plan.pids, 4)[1..]);
        }
    }
    pool.close().unwrap();
    Passed
}

fn fault_14_together_deaths_come_up_with_their_causes() -> Outcome {
    let pool = pool();
    for ways in pairs() {
        for (death, word) in [
            (Death::Kill, "SIGKILL"),
            (Death::Abort, "SIGABRT"),
            (Death::Segfault, "SIGSEGV"),
            (Death::Exit, "7"),
        ] {
            let plan = Plan::new(ways, End::Die(death));
            let error = submit(&pool, &plan).unwrap().unwrap_err();
            assert!(error.to_string().contains(word), "{death:?}: {error}");
            gone(&noted(&plan.pids, 4)[1..]);
        }
    }
    // All of that happened below the workers.
    assert_eq!(pool.statistics().unwrap().started, 2);
    pool.close().unwrap();
    Passed
}

fn fault_13_together_a_kill_at_each_level_is_told_above() -> Outcome {
    let pool = pool();
    for ways in pairs() {
        for victim in 0..4 {
            let plan = Plan::new(ways, End::Hang);
            let task = pool.submit(top, plan.clone()).unwrap();
            let all = noted(&plan.pids, 4);
            assert!(run(&all));
            let below = proc::descendants(all[victim]);
            assert!(all[victim + 1..].iter().all(|pid| below.contains(pid)), "{all:?} {below:?}");
            kill(all[victim], NixSignal::SIGKILL);
            match result(task) {
                Err(WorkError::Died { status, .. }) => {
                    assert_eq!((victim, status.signal().is_some()), (0, true), "{status}");
                }
                Ok(Err(error)) => {
                    assert!(victim > 0 && error.to_string().contains("SIGKILL"), "{victim}: {error}");
                    let is_of_bridge = error.to_string().contains("process of the object");
                    assert_eq!(is_of_bridge, victim == 1, "{error}");
                }
                other => panic!("{victim}: {other:?}"),
            }
            // Whatever was below the victim, and what was above it in the midst of its call.
            gone(&all[1..]);
            gone(&below);
        }
    }
    // A worker for each of the four that were killed.
    assert_eq!(pool.statistics().unwrap().started, 2 + 4);
    pool.close().unwrap();
    Passed
}

fn fault_27_together_the_top_that_is_killed_leaves_nothing_below() -> Outcome {
    let zygote = zygote();
    let pool = ProcessPool::new(2).unwrap();
    for ways in pairs() {
        for by_fork in [true, false] {
            let plan = Plan::new(ways, End::Hang);
            let task = match by_fork {
                true => pool.clone().options(plan.options()).execute({
                    let plan = plan.clone();
                    move || top(plan)
                }),
                false => pool.execute_in(&zygote, top, &plan),
            };
            let task = task.unwrap();
            let all = noted(&plan.pids, 4);
            assert_eq!(all[0] as u32, task.pid());
            let below = proc::descendants(all[0]);
            task.kill().unwrap();
            gone(&all);
            gone(&below);
            assert!(task.join_timeout(PATIENCE).is_err());
        }
        // By the end of a pool of workers, in the midst.
        let plan = Plan::new(ways, End::Hang);
        let workers = WorkerPool::new(1).unwrap();
        let task = workers.submit(top, plan.clone()).unwrap();
        let all = noted(&plan.pids, 4);
        let below = proc::descendants(all[0]);
        drop(workers);
        assert!(matches!(result(task), Err(WorkError::Ended { .. })));
        gone(&all);
        gone(&below);
    }
    pool.close().unwrap();
    Passed
}

/// A back end that has a pool of workers, whose tasks have a bridge each.
#[derive(Serialize, Deserialize)]
struct Manifold {
    #[serde(skip)]
    pool: Option<WorkerPool>,
}

#[derive(Serialize, Deserialize)]
struct Ask {
    plans: Vec<Plan>,
    reply: Reply<Vec<Result<u64, RemoteError>>>,
}

impl Backend for Manifold {
    type Command = Ask;
    type Event = ();

    fn pre_run(&mut self, _: &mut Context<Self>) -> Result<(), RemoteError> {
        zygote();
        self.pool = Some(WorkerPool::new(2)?);
        Ok(())
    }

    fn handle(&mut self, _: &mut Context<Self>, Ask { plans, reply }: Ask) -> Result<(), RemoteError> {
        let pool = self.pool.as_ref().ok_or(RemoteError::msg("no pool"))?;
        let results = pool.map(plans, top).collect::<Result<Vec<_>, _>>()?;
        Ok(reply.send(&results)?)
    }
}

/// A task that has a message process, whose back end has a pool of workers, and so on.
fn outermost((way, plans): (Way, Vec<Plan>)) -> Result<Vec<Result<u64, RemoteError>>, RemoteError> {
    let process = way.message("manifold", Manifold { pool: None }, LaunchOptions::new());
    let results = match process.request(|reply| Ask { plans, reply }) {
        Err(error @ ProcessError::Failed(_)) => return Err(error.into()),
        results => results?,
    };
    process.stop()?;
    Ok(results)
}

fn giving(plans: &[Plan]) -> LaunchOptions {
    plans.iter().fold(LaunchOptions::new(), |options, plan| options.give(&plan.pids))
}

fn together_the_other_way_round() -> Outcome {
    for way in WAYS {
        let plans = || pairs().map(|ways| Plan::new(ways, End::Square(7))).collect::<Vec<_>>();
        let plans_of_all = plans();
        let task = way.task(giving(&plans_of_all), outermost, (way, plans_of_all));
        type Results = Result<Vec<Result<u64, RemoteError>>, RemoteError>;
        let results = task.output_timeout::<Results>(PATIENCE).unwrap().unwrap().unwrap();
        assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [160; 4]);
        // Six processes, one below the other; the uppermost is killed.
        let mut plan = plans().remove(0);
        plan.end = End::Hang;
        let task = way.task(plan.options(), outermost, (way, vec![plan.clone()]));
        let all = noted(&plan.pids, 4);
        let above = proc::stat(all[0]).unwrap().parent;
        let below = proc::descendants(task.id() as i32);
        assert!(
            below.contains(&above) && all.iter().all(|pid| below.contains(pid)),
            "{above} {all:?} {below:?}"
        );
        task.kill().unwrap();
        let error = task.output_timeout::<Results>(PATIENCE).unwrap_err();
        assert!(matches!(error, JoinError::Died(_)), "{error}");
        gone(&all);
        gone(&below);
    }
    Passed
}
