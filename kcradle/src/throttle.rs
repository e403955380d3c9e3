//! `kcradle throttle`: other limits for a pod's disks, at once where it runs, and for the runs to come.

use std::collections::BTreeMap;

use anyhow::Context as _;
use pod::{PodDir, control};
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
    let mut record = dir.read_record().map_err(hint::where_pods_are)?;
    let wishes = args.limits.wishes()?;
    if wishes.is_empty() {
        stdout::json(&record.limits).context("cannot print JSON")?;
        return Ok(());
    }
    let launch = dir.read_launch().map_err(anyhow::Error::from)?;
    let mut changed: BTreeMap<String, LimitChanges> = BTreeMap::new();
    for wish in wishes {
        let disk = wish.apply(&launch, &mut record.limits).map_err(anyhow::Error::from)?;
        wish.add_to(changed.entry(disk).or_default());
    }
    record.limits.retain(|_, limits| !limits.is_none());
    dir.write_record(&record).context("cannot write pod.json")?;
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
