//! What goes wrong ends the launch with an error that names the step, and the guest does not run.

use crate::record::Run;

/// A launch that fails, with a word that the error must have.
fn refused(variables: &[(&str, &str)], words: &[&str]) -> Run {
    let run = Run::with(variables);
    for word in words {
        assert!(run.ended.contains(word), "{variables:?}: {:?} has no {word:?}", run.ended);
    }
    assert!(!run.calls.iter().any(|call| call.name == "staged"), "{variables:?}: the guest ran");
    run
}

#[test]
fn a_step_that_fails_is_named() {
    let steps: [(&str, &[&str]); 11] = [
        ("create", &["KVM_CREATE_VM"]),
        ("hypercalls", &["KVM_CAP_EXIT_HYPERCALL"]),
        ("init", &["KVM_SEV_INIT2", "firmware status 0x1 (invalid platform state)"]),
        ("slot", &["KVM_SET_USER_MEMORY_REGION2", "0x0"]),
        ("attributes", &["KVM_SET_MEMORY_ATTRIBUTES", "0x0"]),
        ("start", &["KVM_SEV_SNP_LAUNCH_START", "0x7 (the policy is refused"]),
        ("update", &["KVM_SEV_SNP_LAUNCH_UPDATE of the secrets pages", "0x35000", "status 0x1a"]),
        ("astray", &["KVM_SEV_SNP_LAUNCH_UPDATE", "0x10000", "astray"]),
        ("again-for-ever", &["KVM_SEV_SNP_LAUNCH_UPDATE", "0x10000"]),
        ("register", &["vCPU 1", "0x600 in RDX", "not launched"]),
        ("finish", &["KVM_SEV_SNP_LAUNCH_FINISH", "status 0xb (bad signature)"]),
    ];
    for (fault, words) in steps {
        let run = refused(&[("SNP_FAULT", fault)], words);
        let finished = run.firmware(102).len();
        assert_eq!(finished, usize::from(fault == "finish"), "{fault}");
    }
}

#[test]
fn a_precondition_that_is_not_met_is_named_before_anything_is_made() {
    let lacks: [(&str, &str, &str); 6] = [
        ("SNP_FAULT", "parameter", "sev_snp: "),
        ("SNP_FAULT", "no-device", "/dev/sev: there is no /dev/sev"),
        ("SNP_LACK", "235", "KVM_CAP_VM_TYPES: KVM has 0x0, and 0x10 is needed"),
        ("SNP_LACK", "234", "KVM_CAP_GUEST_MEMFD: "),
        ("SNP_LACK", "233", "KVM_CAP_MEMORY_ATTRIBUTES: "),
        ("SNP_LACK", "201", "KVM_CAP_EXIT_HYPERCALL: "),
    ];
    for (variable, value, word) in lacks {
        let run = refused(&[(variable, value)], &["this host cannot run SNP guests", word]);
        assert_eq!(run.of("kvm", crate::record::CREATE_VM).count(), 0);
    }
}

#[test]
fn a_cpuid_page_that_the_firmware_corrects_is_offered_as_corrected_once() {
    let run = Run::with(&[("SNP_FAULT", "cpuid-once")]);
    assert_eq!(run.ended, "PowerOff");
    let tries: Vec<_> = run.firmware(101).into_iter().filter(|update| update.input[24] == 6).collect();
    assert_eq!((tries.len(), tries[0].result, tries[1].result), (2, -i64::from(libc::EIO), 0));
    let changed: Vec<_> = (0..4096).filter(|at| tries[0].extra[*at] != tries[1].extra[*at]).collect();
    assert_eq!(changed, [16 + 48 * 4 + 28], "EBX of the fifth entry alone");
    assert_eq!(crate::measured::digest(&run), crate::pod::Pod::default().layout().digest());

    let run = refused(&[("SNP_FAULT", "cpuid-twice")], &["refuses the CPUID page twice", "leaf 0x"]);
    let tries = run.firmware(101).into_iter().filter(|update| update.input[24] == 6).count();
    assert_eq!(tries, 2);
}

#[test]
fn a_policy_that_kvm_would_refuse_is_refused_before() {
    for policy in ["0", "65536", "1245184", "458752", "8589934592"] {
        let run = refused(&[("SNP_POLICY", policy)], &["the guest's policy"]);
        assert_eq!(run.of("kvm", crate::record::CREATE_VM).count(), 0);
    }
    assert_eq!(Run::with(&[("SNP_POLICY", "655360")]).ended, "PowerOff", "a debugger, no other threads");
}
