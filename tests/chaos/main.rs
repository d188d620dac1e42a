//! `just chaos`: the prosecutor of the promises.
//!
//! Real processes of the real binary over a private Postgres and Redis; a sender that repeats itself, as Meta does; customers
//! that write down every request; faults from a plan that a seed decides. Then everything is healed, all that was begun
//! may end, and the verdict is spoken from outside: from what the sender was told, what the customers heard, and what
//! stands in Postgres.
//!
//! Two acts. In the first Redis keeps what it acknowledged, and nothing may be lost. In the second it loses its memory,
//! twice: what was queued and not yet committed may be missing, and must be named.

mod customers;
mod fault;
mod fleet;
mod inject;
mod judge;
mod lock;
mod plan;
mod proxy;
mod report;
mod sender;
mod stage;
mod stores;
mod stream;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

use plan::Plan;
use report::Report;

/// Kill, freeze, cut and starve a whole fleet under load, and see whether its promises hold
#[derive(Debug, Parser)]
struct Options {
    /// The same seed makes the same stream and the same plan; by default chance decides
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults are injected; the two acts need about two minutes more to start, heal, drain and be judged
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// How many different requests are sent in a second
    #[arg(long, default_value_t = 60)]
    rate: u32,
    /// Only faults of these classes, with commas (freeze,kill-at-point); the plan says what there is
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only print the plan
    #[arg(long)]
    plan: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    println!("seed {seed}, {} minutes: the same again with --seed {seed} --minutes {0}", options.minutes);
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let plan = Plan::new(seed, length).only(&options.only);
    let amnesia = Plan::of_amnesia(seed, length);
    if options.plan {
        plan.faults.iter().for_each(|planned| println!("{planned}"));
        println!("and then");
        amnesia.faults.iter().for_each(|planned| println!("{planned}"));
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(4).build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(stage::play(seed, options.rate, [&plan, &amnesia])),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(reports) => {
            let held = reports.iter().all(Report::held);
            println!("{}", if held { "every promise held" } else { "A PROMISE BROKE: see the lines marked NO" });
            ExitCode::from(u8::from(!held))
        }
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::from(2)
        }
    }
}
