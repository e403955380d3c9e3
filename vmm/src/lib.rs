//! The virtual machine monitor: KVM, memory, vCPUs, boot and devices.
