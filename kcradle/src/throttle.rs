//! `kcradle throttle`: other limits for a pod's disks, at once where it runs, and for the runs to come.

use std::collections::BTreeMap;

use anyhow::Context as _;
use pod::limits::{LimitError, Limits};
use pod::{PodDir, PodRecord, control};
use spec::LimitChanges;
use spec::control::{Reply, Verb};

use crate::cli::limits::ThrottleArgs;
use crate::failure::Failure;
use crate::hint;
use crate::run::is_running;
use crate::stdout;

/// Changes the limits, or prints them where none are given.
pub(crate) fn run(args: &ThrottleArgs) -> Result<u8, Failure> {
    let context = || format!("cannot throttle {}", args.dir.display());
    throttle(args).map_err(|failure| failure.context(context()))?;
    Ok(0)
}

fn throttle(args: &ThrottleArgs) -> Result<(), Failure> {
    let dir = PodDir::new(&args.dir).context("cannot name the pod directory")?;
    let record = dir.read_record().map_err(hint::where_pods_are)?;
    let wishes = args.limits.wishes()?;
    if wishes.is_empty() {
        let limits = limits(&dir, &record)?;
        stdout::json(&limits).context("cannot print JSON")?;
        return Ok(());
    }
    let launch = dir.read_launch().map_err(anyhow::Error::from)?;
    let mut changed: BTreeMap<String, LimitChanges> = BTreeMap::new();
    let change = |record: &mut PodRecord| {
        for wish in &wishes {
            let disk = wish.apply(&launch, &mut record.limits)?;
            wish.add_to(changed.entry(disk).or_default());
        }
        record.limits.retain(|_, limits| !limits.is_none());
        Ok::<_, LimitError>(())
    };
    dir.change_record(change).context("cannot write pod.json")?.map_err(anyhow::Error::from)?;
    for (disk, changes) in changed {
        match control::ask(&dir, Verb::Throttle { disk, changes }) {
            Ok(Reply::Error(why)) => return Err(Failure::new(format!("the pod refuses: {why}"))),
            Ok(_) => {}
            // One that does not run yet, or any more, reads its record when it does.
            Err(_) if !is_running(&dir)? => return Ok(()),
            Err(error) => {
                return Err(anyhow::Error::from(error).context("cannot reach the pod's process").into());
            }
        }
    }
    Ok(())
}

/// The limits that hold: those of the run, or where it does not run those that the next one has.
fn limits(dir: &PodDir, record: &PodRecord) -> Result<Limits, Failure> {
    match control::ask(dir, Verb::Limits) {
        Ok(Reply::Limits(limits)) => Ok(limits),
        Ok(other) => Err(Failure::new(format!("the pod refuses: {other:?}"))),
        Err(_) if !is_running(dir)? => Ok(record.limits.clone()),
        Err(error) => Err(anyhow::Error::from(error).context("cannot reach the pod's process").into()),
    }
}
