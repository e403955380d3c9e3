# cradle: any OCI image in its own microVM. `make help` lists what can be asked for.
#
# Kernels, test images and tools are cached under ${XDG_CACHE_HOME:-~/.cache}/cradle by the hash of their inputs.

SHELL := /bin/bash
.DEFAULT_GOAL := all
.PHONY: all attest build kernel guest snp-stub lab-kernel demo test check fuzz bench bench-boot bench-streams bench-network bench-disk bench-daemon bench-density bench-compare bench-ready profile repro soak install help

PREFIX ?= /usr/local
# The kind of machine that a runtime package is for: default, or snp (docs/snp.md).
VARIANT ?= default
export PATH := $(PATH):$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cradle/tools/bin

all: build

build: guest ## build target/release/kcradle and target/pkg-default; with VARIANT=snp target/pkg-snp
	cargo build --release --locked -p kcradle

kernel: ## build the kernel of pods (of SNP guests with VARIANT=snp), or take it from the cache
	tests/install kernel
	kernel-config/build.sh $(VARIANT:default=guest) target/kernel/$(VARIANT:default=guest)

lab-kernel: ## build the kernel of the KVM lab's host, or take it from the cache
	tests/install kernel
	kernel-config/build.sh lab target/lab

guest: kernel $(if $(filter snp,$(VARIANT)),snp-stub) ## build guest-init and the runtime package target/pkg-default, or target/pkg-snp
	tests/install rust
	guest-init/pack.sh target/kernel/$(VARIANT:default=guest) target/pkg-$(VARIANT) $(if $(filter snp,$(VARIANT)),target/snp-stub/stub)

snp-stub: ## build the first code of SNP guests, target/snp-stub/stub
	tests/install rust
	snp-stub/build.sh target/snp-stub/stub

attest: ## build target/cradle-attest, a static program that judges attestation reports on any machine
	tests/install rust
	attest/build.sh target/cradle-attest

demo: ## run a busybox and an nginx image in microVMs
	tests/install kernel lab images test rust
	$(MAKE) --no-print-directory build
	tests/demo

test: ## run every test; end-to-end tests choose the host's KVM or the lab by themselves
	tests/run

check: ## formatting, lints and the tests that need no KVM: seconds, on any Linux
	tests/run check

fuzz: ## damaged messages for every parser that takes them from strangers; MINUTES=60 for another time than 10
	tests/install rust
	tests/fuzz

bench: bench-ready ## every benchmark: boots, peers, memory and density in one run, then streams, network, disk and the daemon; target/bench holds table, chart, raw data
	tests/bench/run
	tests/bench/streams
	tests/bench/network
	tests/bench/disk
	tests/bench/daemon

bench-boot: bench-ready ## the part of `make bench` about boots
	tests/bench/run boot

bench-density: bench-ready ## time and memory a pod of 1, 10, 50 and 100 pods on one host
	tests/bench/run density

bench-streams: bench-ready ## what `docker cp`, `docker logs` and an exec cost a byte, against `cat` through the same socket
	tests/bench/streams

bench-network: bench-ready ## what a byte of TCP costs between host and pod, and pods, beside QEMU's virtio-net
	tests/bench/network

bench-disk: bench-ready ## what an operation on a disk costs, beside QEMU's virtio-blk
	tests/bench/disk

bench-daemon: bench-ready ## what `kcradle serve` costs: `docker run` beside podman, a list of 500, 100 containers, memory
	tests/bench/daemon

bench-compare: bench-ready ## this tree and another revision by turns; fails where it is slower: REV=HEAD~5
	tests/bench/compare $(or $(REV),$(error which revision? make bench-compare REV=HEAD~5))

profile: bench-ready ## where the time of one boot goes: stages, functions of host and guest, initcalls
	tests/bench/profile

bench-ready:
	tests/install kernel lab images test rust bench
	$(MAKE) --no-print-directory build lab-kernel

repro: ## build kernels, runtime package, stub and test images twice and compare every byte
	tests/repro

soak: ## boot 500 pods and check each (BOOTS=, MINUTES=); kill daemon, machines, clients, databases under load (OPERATIONS=, SEED=); run 1000 containers and look what is left (RUNS=, MINUTES=)
	tests/install kernel lab images test rust
	$(MAKE) --no-print-directory build lab-kernel
	tests/soak
	tests/faults
	POWER_LOSS_POINTS=all KILLS=mariadb:20 KVM_TEST_LIMIT=7200 tests/run kvm 'test(/^(power_loss|kills)::/)'
	tests/runs

install: ## install kcradle, its runtime package, units, manual and completions under PREFIX (default /usr/local)
	@[[ -x target/release/kcradle && -e target/pkg-default/cradle.json ]] || { echo "make install: run \`make\` first" >&2; exit 1; }
	install -D -m 755 target/release/kcradle $(DESTDIR)$(PREFIX)/bin/kcradle
	[[ ! -e target/cradle-attest ]] || install -D -m 755 target/cradle-attest $(DESTDIR)$(PREFIX)/bin/cradle-attest
	for file in pkg-default/{vmlinux,initramfs,cradle.json} pkg-snp/{bzImage,initramfs,stub,cradle.json}; do \
	  [[ -e target/$$file || $$file != pkg-snp/* ]] || continue; \
	  install -D -m 644 target/$$file $(DESTDIR)$(PREFIX)/lib/cradle/$$file.new && \
	  mv $(DESTDIR)$(PREFIX)/lib/cradle/$$file{.new,} || exit; done
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -D -m 644 dist/kcradle-serve.8 $(DESTDIR)$(PREFIX)/share/man/man8/kcradle-serve.8
	for unit in cradle.service cradle.socket; do \
	  install -D -m 644 dist/$$unit $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit && \
	  sed -i 's,/usr/local/bin,$(PREFIX)/bin,' $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit; done
	target/release/kcradle completions bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/kcradle

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
