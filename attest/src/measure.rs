//! What the firmware will have measured of a pod when it starts: computed from its files, run by run, with what each run
//! depends on.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use snp_layout::layout::C_BIT;
use snp_layout::{Inputs, Layout, LayoutError, Origin, PageKind};
use spec::package::{Machine, PackageSpec, SnpPackage};
use spec::{LaunchSpec, launch};

use crate::hex;

/// The version of the document.
const VERSION: u32 = 1;

/// The files of a pod and of its runtime package.
#[derive(Clone, Copy, Debug)]
pub struct PodFiles<'a> {
    /// `launch.json`.
    pub launch: &'a [u8],
    /// `cradle.json`.
    pub package: &'a PackageSpec,
    /// The kernel.
    pub kernel: &'a [u8],
    /// The initramfs.
    pub initramfs: &'a [u8],
    /// The stub.
    pub stub: &'a [u8],
}

/// Why a pod has no launch digest.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// `launch.json` cannot be read.
    #[error("cannot read launch.json")]
    Launch(#[source] serde_json::Error),
    /// Of another version.
    #[error("launch.json has version {found}, this program reads {known}", known = launch::VERSION)]
    Version {
        /// Its version.
        found: u32,
    },
    /// The runtime package is for machines that are not measured.
    #[error("the pod's runtime package is not one for SNP guests")]
    Machine,
    /// A file is not the one with which the package was made.
    #[error("the package's {file} has SHA-256 {found}, and its cradle.json says {expected}")]
    Changed {
        /// Which one.
        file: &'static str,
        /// What `cradle.json` says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A number of vCPUs that does not fit.
    #[error("{0} vCPUs are too many")]
    Vcpus(u32),
    /// The pod cannot be laid out.
    #[error("cannot lay out the pod's memory")]
    Layout(#[source] LayoutError),
}

/// What is measured of a pod. As JSON it is what `attest measure --json` writes and `attest diff` reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// The version of the document.
    pub version: u32,
    /// The launch digest, as a report has it: 96 hexadecimal digits.
    pub digest: String,
    /// The digest up to the last page that depends on the release alone.
    pub stable_digest: String,
    /// HOST_DATA of the report: the SHA-256 of launch.json.
    pub host_data: String,
    /// What it is made of.
    pub inputs: InputsSummary,
    /// Pages side by side, in the order of the launch.
    pub runs: Vec<RunRow>,
}

/// What a measurement is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputsSummary {
    /// The kernel.
    pub kernel: FileSummary,
    /// The initramfs of the runtime package.
    pub initramfs: FileSummary,
    /// launch.json.
    pub launch: FileSummary,
    /// The stub.
    pub stub: FileSummary,
    /// The kernel's command line.
    pub command_line: String,
    /// Memory.
    pub memory_mib: u64,
    /// vCPUs.
    pub vcpus: u8,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSummary {
    /// Bytes.
    pub size: u64,
    /// Hexadecimal digits.
    pub sha256: String,
}

/// Pages side by side that are made of the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRow {
    /// What they are.
    pub name: String,
    /// The firmware's kind of page.
    pub kind: String,
    /// The first guest physical address.
    pub gpa: u64,
    /// How many.
    pub pages: u64,
    /// Of all their bytes; nothing where the bytes are not measured.
    pub sha256: Option<String>,
    /// The launch digest up to their end.
    pub digest: String,
    /// What they depend on.
    pub depends_on: String,
}

/// The layout of a pod, as the launcher makes it.
///
/// # Errors
/// See [`MeasureError`].
pub fn layout<'a>(files: &PodFiles<'a>) -> Result<Layout<'a>, MeasureError> {
    Layout::new(&inputs(files)?).map_err(MeasureError::Layout)
}

/// Measures a pod.
///
/// # Errors
/// See [`MeasureError`].
pub fn measure(files: &PodFiles<'_>) -> Result<Measurement, MeasureError> {
    let inputs = inputs(files)?;
    let layout = Layout::new(&inputs).map_err(MeasureError::Layout)?;
    Ok(Measurement {
        version: VERSION,
        digest: layout.digest().to_string(),
        stable_digest: layout.stable_digest().to_string(),
        host_data: hex::encode(&layout.host_data),
        inputs: InputsSummary {
            kernel: summary(inputs.kernel),
            initramfs: summary(inputs.initramfs),
            launch: summary(inputs.launch),
            stub: summary(inputs.stub),
            command_line: inputs.command_line.to_owned(),
            memory_mib: inputs.memory_mib,
            vcpus: inputs.vcpus,
        },
        runs: layout.runs().iter().map(row).collect(),
    })
}

/// A run of pages as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFile {
    /// Number, name, address and kind: `01-stub-10000.normal`. Sorted by name, files are in the order of the launch.
    pub name: String,
    /// The pages; zeros where their bytes are not measured.
    pub bytes: Vec<u8>,
}

/// The pages of a pod and the registers of its vCPUs, for other programs to measure.
///
/// # Errors
/// See [`MeasureError`].
pub fn pages(files: &PodFiles<'_>) -> Result<Vec<RunFile>, MeasureError> {
    let layout = layout(files)?;
    let (mut pages, mut vcpus) = (layout.pages.iter(), layout.vcpus.iter());
    let mut made = Vec::new();
    for (number, run) in (1..).zip(layout.runs()) {
        let mut bytes = Vec::new();
        if run.origin == Origin::Vcpu {
            bytes.extend(vcpus.next().into_iter().flat_map(|vcpu| *vcpu.vmsa()));
        } else {
            for page in pages.by_ref().take(run.count) {
                bytes.extend(if let PageKind::Normal(bytes) = &page.kind { **bytes } else { [0; 4096] });
            }
        }
        let name = format!("{number:02}-{}-{:x}.{}", run.origin.name(), run.gpa, run.kind);
        made.push(RunFile { name, bytes });
    }
    Ok(made)
}

fn inputs<'a>(files: &PodFiles<'a>) -> Result<Inputs<'a>, MeasureError> {
    let launch: LaunchSpec = serde_json::from_slice(files.launch).map_err(MeasureError::Launch)?;
    if launch.version != launch::VERSION {
        return Err(MeasureError::Version { found: launch.version });
    }
    let snp = snp(files)?;
    let vcpus = launch.resources.cpu;
    Ok(Inputs {
        kernel: files.kernel,
        initramfs: files.initramfs,
        command_line: &snp.command_line,
        launch: files.launch,
        memory_mib: launch.resources.mem,
        vcpus: u8::try_from(vcpus).map_err(|_large| MeasureError::Vcpus(vcpus))?,
        stub: files.stub,
        c_bit: C_BIT,
    })
}

/// The package's part for SNP guests; its files have to be those of which it tells.
fn snp<'a>(files: &PodFiles<'a>) -> Result<&'a SnpPackage, MeasureError> {
    let snp = files.package.snp.as_ref().filter(|_| files.package.machine == Machine::Snp);
    let snp = snp.ok_or(MeasureError::Machine)?;
    let digests = &snp.digests;
    let told = [
        ("kernel", files.kernel, &digests.kernel),
        ("initramfs", files.initramfs, &digests.initrd),
        ("stub", files.stub, &digests.stub),
    ];
    for (file, bytes, expected) in told {
        let found = sha256(bytes);
        if found != *expected {
            return Err(MeasureError::Changed { file, expected: expected.clone(), found });
        }
    }
    Ok(snp)
}

fn summary(bytes: &[u8]) -> FileSummary {
    FileSummary { size: bytes.len() as u64, sha256: sha256(bytes) }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}

fn row(run: &snp_layout::Run) -> RunRow {
    RunRow {
        name: run.origin.name().to_owned(),
        kind: run.kind.to_owned(),
        gpa: run.gpa,
        pages: run.count as u64,
        sha256: run.sha256.as_ref().map(|hash| hex::encode(hash)),
        digest: run.digest.to_string(),
        depends_on: Origin::depends_on(run.origin).to_owned(),
    }
}

/// Why a document is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not what `attest measure --json` writes.
    #[error("it is not what `attest measure --json` writes")]
    Parse(#[source] serde_json::Error),
    /// Another version.
    #[error("it has version {0}, this program reads {VERSION}")]
    Version(u32),
    /// No runs, or a digest that is not that of its last run.
    #[error("its digest is not that of its last run")]
    Digest,
}

impl Measurement {
    /// Reads a document.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let found: Self = serde_json::from_slice(bytes).map_err(DocumentError::Parse)?;
        if found.version != VERSION {
            return Err(DocumentError::Version(found.version));
        }
        match found.runs.last() {
            Some(last) if last.digest == found.digest => Ok(found),
            _ => Err(DocumentError::Digest),
        }
    }
}
