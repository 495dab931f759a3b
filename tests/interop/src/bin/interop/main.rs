//! The interop agent of this project's own stack.

mod agent;
mod cases;
mod channel;
mod failure;
mod lossy;
mod media;

use std::io;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rtc_async_std::AsyncStdRuntime;
use rtc_interop::args::{self, Args};
use rtc_interop::lines;
use rtc_smol::SmolRuntime;
use rtc_tests::reactor::Reactor;
use rtc_tokio::TokioRuntime;
use tracing_subscriber::EnvFilter;

/// An interop agent whose stack is this project's.
#[derive(Debug, Parser)]
#[command(name = "interop")]
struct Command {
    #[command(flatten)]
    args: Args,
    /// What drives the connection.
    #[arg(long, value_enum, default_value_t)]
    runtime: Runtime,
}

/// What can drive a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Runtime {
    #[default]
    Tokio,
    Smol,
    AsyncStd,
    Mio,
}

fn main() -> ExitCode {
    let Command { args, runtime } = args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    let held = match runtime {
        Runtime::Tokio => on_tokio(args),
        Runtime::Smol => smol::block_on(agent::run(SmolRuntime::global(), args)),
        Runtime::AsyncStd => async_std::task::block_on(agent::run(AsyncStdRuntime, args)),
        Runtime::Mio => on_mio(args),
    };
    args::exit(i32::from(!held))
}

fn on_tokio(args: Args) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(async { agent::run(TokioRuntime::current(), args).await }),
        Err(error) => {
            lines::complain(&format!("tokio does not start: {error}"));
            false
        }
    }
}

fn on_mio(args: Args) -> bool {
    match Reactor::new() {
        Ok(mut reactor) => {
            let runtime = reactor.runtime();
            reactor.block_on(agent::run(runtime, args))
        }
        Err(error) => {
            lines::complain(&format!("mio does not start: {error}"));
            false
        }
    }
}
