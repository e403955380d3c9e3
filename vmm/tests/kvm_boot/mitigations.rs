//! The kernel's text: left as built where the processor needs nothing else, rewritten at each return and each
//! indirect call where a flaw of the processor asks for it. The command line says which, whatever the processor.

use std::path::Path;

use vmm::VmConfig;

use crate::content;
use crate::linux::{kernel, linux, talk, talking_init};

/// What the kernel said while it booted with `option`, and how many pages of its text it wrote to.
fn boot(option: &str) -> (String, usize) {
    let early = tempfile::tempfile().unwrap();
    let machine = linux(2, 128, talking_init(), &early);
    // A file of its own tells its mapping from those of other tests' machines in this process.
    let mut own = tempfile::NamedTempFile::new().unwrap();
    std::io::copy(&mut kernel(), &mut own).unwrap();
    let kernel = own.reopen().unwrap();
    let config = VmConfig { kernel, log_level: 8, cmdline_extra: option.to_owned(), ..machine };
    let mut pages = 0;
    let said = talk(config, &early, || pages = written_text_pages(own.path()));
    assert!(said.ends_with("got ping\r\n"), "{said}");
    let log = String::from_utf8_lossy(&content(&early)).into_owned();
    for warning in ["missing return", "Unpatched return thunk", "text is corrupt"] {
        assert!(!log.contains(warning), "{log}");
    }
    (log, pages)
}

/// Pages of the kernel's text and constants that are no longer its file's: of the first mapping of `file`.
fn written_text_pages(file: &Path) -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = smaps.lines().skip_while(|line| !line.ends_with(file.to_str().unwrap()));
    let anonymous = lines.find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    anonymous.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() / 4
}

#[test]
fn text_stays_as_built_where_the_processor_needs_nothing_else() {
    let (log, pages) = boot("mitigations=off");
    assert!(!log.contains("active return thunk") && !log.contains("Mitigation: Retpolines"), "{log}");
    assert!(pages < 300, "{pages} pages of text were written");
}

#[test]
fn each_return_is_rewritten_where_the_processor_needs_it() {
    let (log, pages) = boot("retbleed=unret,force");
    assert!(log.contains("active return thunk"), "{log}");
    assert!(pages > 1500, "{pages} pages of text were written");
}

#[test]
fn returns_are_rewritten_where_their_place_in_a_cache_line_matters() {
    let (log, pages) = boot("indirect_target_selection=force");
    assert!(log.contains("ITS: Mitigation: Aligned branch/return thunks"), "{log}");
    assert!(pages > 1500, "{pages} pages of text were written");
}

/// Linux calls it no mitigation on most processors, but does it on all of them.
#[test]
fn each_indirect_call_is_rewritten_where_it_needs_a_fence() {
    let (log, pages) = boot("spectre_v2=retpoline,lfence");
    assert!(log.contains("Spectre V2 : retpoline,lfence selected"), "{log}");
    assert!(pages > 1000, "{pages} pages of text were written");
}
