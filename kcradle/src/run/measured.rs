//! The part of an SNP guest's machine that is measured: stub and command line of the runtime package, and launch.json, byte for
//! byte as it is in the pod's directory, so that whoever measures the pod finds the same.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use pod::{Package, PodDir};
use spec::LaunchSpec;
use spec::launch::DiskSpec;
use vmm::snp::SnpConfig;

use crate::failure::{Failure, HintExt as _};

/// The most bytes of launch.json and of a stub: the layout takes no more, and says so of both.
const FILE_MAX: u64 = 9 << 20;

/// The guest's. `launch` is what the run has made of launch.json: it must be the same.
pub(super) fn config(dir: &PodDir, package: &Package, launch: &LaunchSpec) -> Result<SnpConfig, Failure> {
    let of_package = package.spec.snp.as_ref();
    let of_package = of_package.with_context(|| {
        format!("{} names machine snp and has no part snp", package.path.join("cradle.json").display())
    })?;
    let stub = read(&package.path.join(&of_package.stub))?;
    let bytes = read(&dir.path().join("launch.json"))?;
    let measured: LaunchSpec = serde_json::from_slice(&bytes).context("cannot read launch.json")?;
    let changed = changed(&measured, launch).context("cannot compare launch.json")?;
    if !changed.is_empty() {
        let changed = changed.join(", ");
        return Err(Failure::new(format!(
            "this run would change {changed} of launch.json, which is measured: the guest takes it as it is"
        )))
        .hint(
            "summon the pod with all that it needs: values of variables, no networks or volumes of the host",
        );
    }
    // The guest refuses it too, but in the words of one that does not know how the pod was made.
    if launch.disks.iter().any(|disk| !matches!(disk, DiskSpec::Image { verity: Some(_) })) {
        return Err(Failure::new(
            "the pod was made for a plain machine: its disks are not bound to it, so an SNP guest must not believe them",
        ))
        .hint("make it again with `kcradle summon --variant snp`");
    }
    Ok(SnpConfig::new(stub, of_package.command_line.clone(), bytes))
}

/// The fields in which they differ.
fn changed(measured: &LaunchSpec, launch: &LaunchSpec) -> serde_json::Result<Vec<String>> {
    let fields = |launch| -> serde_json::Result<serde_json::Map<_, _>> {
        serde_json::from_value(serde_json::to_value(launch)?)
    };
    let (measured, launch) = (fields(measured)?, fields(launch)?);
    let names: BTreeSet<_> = measured.keys().chain(launch.keys()).collect();
    Ok(names.into_iter().filter(|name| measured.get(*name) != launch.get(*name)).cloned().collect())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let read = file.take(FILE_MAX).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}
