//! The runtimes, each by its beginning and its end.

use std::future::Future;
use std::sync::Arc;

use rtc_async_std::AsyncStdRuntime;
use rtc_driver::Runtime;
use rtc_driver::test::{TestRuntime, World};
use rtc_smol::SmolRuntime;
use rtc_tokio::TokioRuntime;

use super::env::{Env, Place};

/// A runtime that scenarios run on.
pub(super) trait Platform {
    /// What connections are made with.
    type Runtime: Runtime;

    /// Makes a runtime, runs what `scenario` gives, and ends the runtime with every task on it.
    fn run<T, F: Future<Output = T>>(scenario: impl FnOnce(Env<Self::Runtime>) -> F) -> T;
}

/// Two places on this machine.
fn loopback<R: Runtime>(runtime: R) -> Env<R> {
    Env {
        a: Place::new(runtime.clone(), ["127.0.0.1", "127.0.0.3"]),
        b: Place::new(runtime, ["127.0.0.2", "127.0.0.4"]),
        is_virtual: false,
    }
}

pub(super) struct TokioMultiThread;

impl Platform for TokioMultiThread {
    type Runtime = TokioRuntime;

    fn run<T, F: Future<Output = T>>(scenario: impl FnOnce(Env<TokioRuntime>) -> F) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { scenario(loopback(TokioRuntime::current())).await })
    }
}

pub(super) struct TokioCurrentThread;

impl Platform for TokioCurrentThread {
    type Runtime = TokioRuntime;

    fn run<T, F: Future<Output = T>>(scenario: impl FnOnce(Env<TokioRuntime>) -> F) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { scenario(loopback(TokioRuntime::current())).await })
    }
}

pub(super) struct Smol;

impl Platform for Smol {
    type Runtime = SmolRuntime;

    /// Two threads run the executor; its tasks are dropped with the last reference to it.
    fn run<T, F: Future<Output = T>>(scenario: impl FnOnce(Env<SmolRuntime>) -> F) -> T {
        let executor = Arc::new(smol::Executor::new());
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        std::thread::scope(|scope| {
            let other = Arc::clone(&executor);
            // Ended by the drop of `stop`, which a panic does too.
            scope.spawn(move || drop(smol::block_on(other.run(stopped.recv()))));
            let env = loopback(SmolRuntime::from(Arc::clone(&executor)));
            let result = smol::block_on(executor.run(scenario(env)));
            drop(stop);
            result
        })
    }
}

pub(super) struct AsyncStd;

impl Platform for AsyncStd {
    type Runtime = AsyncStdRuntime;

    /// Its threads are those of the process, so that tasks have to be ended one by one.
    fn run<T, F: Future<Output = T>>(scenario: impl FnOnce(Env<AsyncStdRuntime>) -> F) -> T {
        let env = loopback(AsyncStdRuntime);
        let result = async_std::task::block_on(scenario(env.clone()));
        env.a.probe.end_tasks();
        env.b.probe.end_tasks();
        async_std::task::block_on(env.nothing_left());
        result
    }
}

pub(super) struct VirtualTime;

impl Platform for VirtualTime {
    type Runtime = TestRuntime;

    fn run<T, F: Future<Output = T>>(scenario: impl FnOnce(Env<TestRuntime>) -> F) -> T {
        let world = World::new(1);
        let place = |ips: [&str; 2]| {
            let host = world.host(ips);
            let place = Place::new(host.runtime(), ips);
            place.with_configuration(move || host.configuration().build())
        };
        let env = Env {
            a: place(["192.0.2.1", "192.0.2.3"]),
            b: place(["192.0.2.2", "192.0.2.4"]),
            is_virtual: true,
        };
        world.run(scenario(env))
    }
}
