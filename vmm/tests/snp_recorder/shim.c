/* Preloaded under the launcher where there is no SNP hardware: plays /dev/kvm, /dev/sev and the parameter of kvm_amd well
 * enough for a launch and a short run, and writes each request with its bytes to the file that SNP_LOG names.
 *
 * A line a call: NAME REQUEST RESULT IN OUT EXTRA, all but the name in hexadecimal digits, "-" for nothing. SNP_FAULT names what
 * goes wrong, SNP_RUN what the guest does. No structure of <linux/kvm.h> is used, which is another reading of the same
 * interface than the launcher's: offsets are those of the documentation. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum role { OTHER, KVM, VM, VCPU, SEV, GMEM };
static const char *const NAMES[] = { "other", "kvm", "vm", "vcpu", "sev", "gmem" };
#define DESCRIPTORS 1024
static struct { enum role role; int index; } table[DESCRIPTORS];
static int log_fd = -1, memfds;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct vcpu { uint8_t regs[144], sregs[312], *run; };
static struct vcpu vcpus[32];
static struct { void *address; size_t size; } staged;

static int is(const char *variable, const char *value)
{
	const char *found = getenv(variable);
	return found && !strcmp(found, value);
}

static char *hex(char *to, const void *from, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	*to++ = ' ';
	if (!size)
		*to++ = '-';
	for (size_t i = 0; i < size; i++) {
		*to++ = digits[((const uint8_t *)from)[i] >> 4];
		*to++ = digits[((const uint8_t *)from)[i] & 15];
	}
	return to;
}

static void note(const char *name, uint64_t request, int64_t result, const void *in, size_t in_size,
		 const void *out, size_t out_size, const void *extra, size_t extra_size)
{
	char *line = malloc(128 + 2 * (in_size + out_size + extra_size)), *end = line;
	end += sprintf(end, "%s %llx %llx", name, (unsigned long long)request, (unsigned long long)result);
	end = hex(end, in, in_size);
	end = hex(end, out, out_size);
	end = hex(end, extra, extra_size);
	*end++ = '\n';
	if (log_fd >= 0 && write(log_fd, line, end - line) != end - line)
		abort();
	free(line);
}

static int give(enum role role, int index, uint64_t size)
{
	int fd = syscall(SYS_memfd_create, NAMES[role], 1);
	if (fd < 0 || fd >= DESCRIPTORS || syscall(SYS_ftruncate, fd, size))
		abort();
	table[fd].role = role;
	table[fd].index = index;
	return fd;
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("SNP_LOG");
	if (path)
		log_fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The files. */

static int fake(const char *path)
{
	if (log_fd < 0)
		return -2;
	if (!strcmp(path, "/dev/kvm"))
		return give(KVM, 0, 0);
	if (!strcmp(path, "/dev/sev")) {
		if (is("SNP_FAULT", "no-device")) {
			errno = ENOENT;
			return -1;
		}
		return give(SEV, 0, 0);
	}
	if (!strcmp(path, "/sys/module/kvm_amd/parameters/sev_snp")) {
		int fd = give(OTHER, 0, 0);
		const char *value = is("SNP_FAULT", "parameter") ? "N\n" : "Y\n";
		if (pwrite(fd, value, 2, 0) != 2)
			abort();
		return fd;
	}
	return -2;
}

#define OPEN(NAME)                                                                  \
	int NAME(const char *path, int flags, ...)                                  \
	{                                                                           \
		va_list list;                                                       \
		va_start(list, flags);                                              \
		int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, int) : 0;   \
		va_end(list);                                                       \
		int fd = fake(path);                                                \
		return fd != -2 ? fd : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode); \
	}
OPEN(open)
OPEN(open64)

int statx(int folder, const char *path, int flags, unsigned mask, void *found)
{
	/* A host on which the tests run may have a KVM that no guest of ours runs on. */
	if (log_fd >= 0 && path && !strncmp(path, "/sys/module/kvm_", 16)) {
		errno = ENOENT;
		return -1;
	}
	return syscall(SYS_statx, folder, path, flags, mask, found);
}

int close(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS)
		table[fd].role = OTHER;
	return syscall(SYS_close, fd);
}

/* A duplicate is of what it duplicates. */
static int copy_of(int fd, int copy)
{
	if (fd >= 0 && copy >= 0 && fd < DESCRIPTORS && copy < DESCRIPTORS)
		table[copy] = table[fd];
	return copy;
}

int fcntl(int fd, int command, ...)
{
	va_list list;
	va_start(list, command);
	long argument = va_arg(list, long);
	va_end(list);
	int result = syscall(SYS_fcntl, fd, command, argument);
	return command == F_DUPFD_CLOEXEC ? copy_of(fd, result) : result;
}

int fcntl64(int fd, int command, ...)
{
	va_list list;
	va_start(list, command);
	long argument = va_arg(list, long);
	va_end(list);
	int result = syscall(SYS_fcntl, fd, command, argument);
	return command == F_DUPFD_CLOEXEC ? copy_of(fd, result) : result;
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	int result = syscall(SYS_fallocate, fd, mode, offset, length);
	uint64_t in[] = { fd, mode, offset, length };
	note("fallocate", fd < DESCRIPTORS ? table[fd].role : 0, result, in, sizeof(in), 0, 0, 0, 0);
	return result;
}

int madvise(void *address, size_t length, int advice)
{
	int result = syscall(SYS_madvise, address, length, advice);
	uint64_t in[] = { (uintptr_t)address, length, advice };
	if (log_fd >= 0 && advice == MADV_DONTNEED)
		note("madvise", 0, result, in, sizeof(in), 0, 0, 0, 0);
	return result;
}

/* KVM and its machine. */

static int64_t capability(uint64_t number)
{
	const char *lack = getenv("SNP_LACK");
	if (lack && strtoull(lack, 0, 10) == number)
		return 0;
	switch (number) {
	case 9: case 66: return 1024;		/* vCPUs */
	case 201: return 1 << 12;		/* EXIT_HYPERCALL */
	case 233: return 8;			/* MEMORY_ATTRIBUTES */
	case 235: return 0x13;			/* VM_TYPES */
	default: return 1;
	}
}

/* Entries of 40 bytes: function, index, flags, eax, ebx, ecx, edx. */
static void supported_cpuid(uint8_t *to)
{
	static const uint32_t leaves[][7] = {
		{ 0, 0, 0, 0x10, 0x68747541, 0x444d4163, 0x69746e65 },
		{ 1, 0, 0, 0xa00f11, 0x800, 0xfffa3203, 0x178bfbff },
		{ 2, 0, 0, 0, 0, 0, 0 },
		{ 7, 0, 1, 0, 0x219c97ab, 0x40069c, 0x10 },
		{ 0xd, 0, 1, 7, 0x988, 0x988, 0 },
		{ 0xd, 1, 1, 0xf, 0x348, 0x1800, 0 },
		{ 0xd, 2, 1, 0x100, 0x240, 0, 0 },
		{ 0x40000000, 0, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d },
		{ 0x40000001, 0, 0, 0x1007afb, 0, 0, 0 },
		{ 0x80000000, 0, 0, 0x80000021, 0x68747541, 0x444d4163, 0x69746e65 },
		{ 0x80000001, 0, 0, 0xa00f11, 0, 0x4003f7, 0x2fd3fbff },
		{ 0x80000008, 0, 0, 0x3030, 0x32ed205, 0, 0 },
		{ 0x8000001f, 0, 0, 0x1a, 0x13b3, 0, 0 },
	};
	uint32_t count = sizeof(leaves) / sizeof(leaves[0]);
	memcpy(to, &count, 4);
	memset(to + 4, 0, 4);
	for (uint32_t i = 0; i < count; i++) {
		memset(to + 8 + 40 * i, 0, 40);
		memcpy(to + 8 + 40 * i, leaves[i], 28);
	}
}

static int64_t firmware(uint8_t *command);

static int64_t of_kvm(uint64_t request, uint64_t argument)
{
	switch (request) {
	case 0xae00: return 12;
	case 0xae01: return is("SNP_FAULT", "create") ? -EINVAL : give(VM, 0, 0);
	case 0xae03: return capability(argument);
	case 0xae04: return 12288;
	case 0xc008ae05: supported_cpuid((uint8_t *)argument); return 0;
	default: return -ENOTTY;
	}
}

static int64_t of_vm(uint64_t request, uint64_t argument)
{
	switch (request) {
	case 0xae03: return capability(argument);
	case 0xae41: {
		struct vcpu *vcpu = &vcpus[argument];
		int fd = give(VCPU, argument, 12288);
		uint64_t reset[] = { 0, 0, 0, 0x600 };
		memcpy(vcpu->regs, reset, sizeof(reset));	/* RDX has the processor's model. */
		vcpu->run = mmap(0, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		return fd;
	}
	case 0xc040aed4: return give(GMEM, memfds++, *(uint64_t *)argument);
	case 0xc008aeba: return firmware((uint8_t *)argument);
	case 0x4020aed2:
		return is("SNP_FAULT", "attributes") || (is("SNP_RUN", "no-attributes") && !((uint64_t *)argument)[2]) ? -ENOMEM : 0;
	case 0x4068aea3: return is("SNP_FAULT", "hypercalls") && *(uint32_t *)argument == 201 ? -EINVAL : 0;
	case 0x40a0ae49: {
		const uint64_t *slot = (uint64_t *)argument;
		if (slot[1] == 0xc0000000) {
			staged.size = slot[2];
			staged.address = (void *)slot[3];
		}
		return is("SNP_FAULT", "slot") ? -EEXIST : 0;
	}
	case 0xae47: case 0xae60: case 0x4020ae76: case 0x4040ae79: return 0;
	default: return -ENOTTY;
	}
}

/* What the guest does, step by step. */
static int64_t run(struct vcpu *vcpu, int index)
{
	static int step;
	uint8_t *page = vcpu->run;
	uint64_t *part = (uint64_t *)(page + 32);
	uint32_t *reason = (uint32_t *)(page + 8);
	while (index) {
		if (*(volatile uint8_t *)(page + 1))
			return -EINTR;
		sched_yield();
	}
	if (!step)
		note("staged", 0, 0, 0, 0, 0, 0, staged.address, staged.size);
	if (step && *reason == 3)
		note("returned", step, part[7], 0, 0, 0, 0, 0, 0);
	/* gpa, pages, attributes */
	static const uint64_t calls[][3] = {
		{ 0x200000, 2, 0 }, { 0x200000, 2, 1 << 4 },
		/* Not the guest's: staged files, beyond RAM, around the end of addresses, nothing, odd, unknown attributes. */
		{ 0xc0000000, 1, 0 }, { 0x3fff000, 2, 0 }, { 0x1000, 0xfffffffffffff, 0 }, { 0x1000, 1ull << 52, 0 },
		{ 0x200000, 0, 0 }, { 0x200800, 1, 0 }, { 0x200000, 1, 1 << 5 },
	};
	const int count = sizeof(calls) / sizeof(calls[0]);
	if (!step && is("SNP_RUN", "high")) {
		/* One page above 4 GiB, and no more. */
		static const uint64_t high[] = { 0x100001000, 1, 0 };
		*reason = 3;
		part[0] = 12;
		memcpy(part + 1, high, sizeof(high));
		step = count;
	} else if (step < count) {
		*reason = 3;
		part[0] = 12;
		memcpy(part + 1, calls[step], sizeof(calls[0]));
		part[7] = 0x5555;
	} else if (step == count || is("SNP_RUN", "stuck")) {
		*reason = 39;
		part[0] = 8;
		part[1] = is("SNP_RUN", "outside") ? 0xc0000000 : 0x300000;
		part[2] = 0x1000;
		step++;
		return -EFAULT;
	} else if (is("SNP_RUN", "terminate")) {
		*reason = 24;
		((uint32_t *)part)[0] = 6;
		((uint32_t *)part)[1] = 1;
		part[1] = 0x100 | 12 << 12 | 0x43 << 16;
	} else {
		/* An OUT of one byte. */
		*reason = 2;
		page[32] = page[33] = 1;
		*(uint16_t *)(page + 34) = strtoul(getenv("SNP_PORT"), 0, 10);
		*(uint32_t *)(page + 36) = 1;
		*(uint64_t *)(page + 40) = 4096;
		page[4096] = strtoul(getenv("SNP_BYTE"), 0, 10);
	}
	step++;
	return 0;
}

static int64_t of_vcpu(int index, uint64_t request, void *argument)
{
	struct vcpu *vcpu = &vcpus[index];
	uint64_t *words = argument;
	switch (request) {
	case 0xae80: return run(vcpu, index);
	case 0xaea3: return 3000000;
	case 0x4008ae89: return *(uint32_t *)argument;
	case 0xc008ae88: words[2] = 0x0007040600070406; return 1;
	case 0x8090ae81:
		memcpy(argument, vcpu->regs, 144);
		if (is("SNP_FAULT", "register") && index == 1)
			words[3] = 0x600;
		return 0;
	case 0x4090ae82: memcpy(vcpu->regs, argument, 144); return 0;
	case 0x8138ae83: memcpy(argument, vcpu->sregs, 312); return 0;
	case 0x4138ae84: memcpy(vcpu->sregs, argument, 312); return 0;
	case 0x8080aea1: memset(argument, 0, 128); words[4] = 0xffff0ff0; words[5] = 0x400; return 0;
	case 0x9000aea4:
		memset(argument, 0, 4096);
		*(uint16_t *)argument = 0x37f;
		*(uint32_t *)((uint8_t *)argument + 24) = 0x1f80;
		return 0;
	case 0x8188aea6: memset(argument, 0, 392); *(uint32_t *)argument = 1; words[2] = 1; return 0;
	case 0x8400ae8e: memset(argument, 0, 1024); return 0;
	case 0x4400ae8f: case 0x4008ae90: return 0;
	default: return -ENOTTY;
	}
}

/* The processor's firmware behind KVM: `command` is id, 0, data, status, descriptor. */
static int64_t refuse(uint8_t *command, uint32_t status, int error)
{
	memcpy(command + 16, &status, 4);
	return -error;
}

/* `update` is frame, bytes, length, type. */
static int64_t launch_update(uint8_t *command, uint64_t *update)
{
	static int calls, cpuid;
	uint64_t length = update[2];
	int type = update[3] & 0xff;
	calls++;
	if (is("SNP_FAULT", "again") && calls % 3)
		return -EAGAIN;
	if (is("SNP_FAULT", "again-for-ever"))
		return -EAGAIN;
	if (is("SNP_FAULT", "astray"))
		return 0;
	if (is("SNP_FAULT", "update") && type == 5)
		return refuse(command, 0x1a, EIO);
	if (type == 6 && ((is("SNP_FAULT", "cpuid-once") && !cpuid) || is("SNP_FAULT", "cpuid-twice"))) {
		cpuid++;
		/* The fifth entry's EBX without a bit that the processor does not have. */
		((uint32_t *)update[1])[4 + 12 * 4 + 7] &= ~0x40u;
		return refuse(command, 0x16, EIO);
	}
	if (is("SNP_FAULT", "partial") && length > 4096)
		length = 4096;
	update[0] += length / 4096;
	if (type != 3)
		update[1] += length;
	update[2] -= length;
	return 0;
}

static int64_t firmware(uint8_t *command)
{
	uint32_t id, device;
	uint64_t data;
	memcpy(&id, command, 4);
	memcpy(&data, command + 8, 8);
	memcpy(&device, command + 20, 4);
	if (device >= DESCRIPTORS || table[device].role != SEV)
		return -EBADF;
	uint64_t *words = (uint64_t *)data;
	switch (id) {
	case 22: return is("SNP_FAULT", "init") ? refuse(command, 1, EIO) : 0;
	case 100: return is("SNP_FAULT", "start") ? refuse(command, 7, EIO) : 0;
	case 101: return launch_update(command, words);
	case 102: return is("SNP_FAULT", "finish") ? refuse(command, 0x0b, EIO) : 0;
	default: return -EINVAL;
	}
}

/* Bytes of a request's argument; 0 for numbers. */
static size_t size_of(uint64_t request, const void *argument)
{
	switch (request) {
	case 0x4008ae90: case 0xc008ae05: return 8 + 40 * (size_t)*(const uint32_t *)argument;
	case 0x4008ae89: case 0xc008ae88: return 8 + 16 * (size_t)*(const uint32_t *)argument;
	case 0xc008aeba: return 24;
	default: return request >> 16 & 0x3fff;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	va_start(list, request);
	void *argument = va_arg(list, void *);
	va_end(list);
	enum role role = fd >= 0 && fd < DESCRIPTORS ? table[fd].role : OTHER;
	request &= 0xffffffff;
	/* The thread's filter sees the call too. */
	if (role == OTHER)
		return syscall(SYS_ioctl, fd, request, argument);
	syscall(SYS_ioctl, -1, request, 0);

	pthread_mutex_lock(&lock);
	size_t size = size_of(request, argument), data_size = 0, extra_size = 0;
	uint8_t in[16384], data[4096], *extra = 0, *sev = 0;
	if (size > sizeof(in))
		abort();
	memcpy(in, size ? argument : (void *)&argument, size ? size : 8);
	if (request == 0xc008aeba) {
		static const size_t sizes[] = { 64, 64, 88 };
		uint32_t id;
		memcpy(&id, in, 4);
		memcpy(&sev, in + 8, 8);
		data_size = id == 22 ? 48 : id >= 100 && id <= 102 ? sizes[id - 100] : 0;
		memcpy(data, sev, data_size);
		if (id == 101 && data[24] != 3) {
			extra_size = *(uint64_t *)(data + 16);
			extra = malloc(extra_size);
			memcpy(extra, (void *)*(uint64_t *)(data + 8), extra_size);
		} else if (id == 102 && data[16]) {
			extra_size = 96 + 4096;
			extra = malloc(extra_size);
			memcpy(extra, (void *)*(uint64_t *)data, 96);
			memcpy(extra + 96, (void *)*(uint64_t *)(data + 8), 4096);
		}
	}
	int waits = request == 0xae80;
	if (waits)
		pthread_mutex_unlock(&lock);
	int64_t result = role == KVM ? of_kvm(request, (uintptr_t)argument)
		       : role == VM ? of_vm(request, (uintptr_t)argument)
		       : role == VCPU ? of_vcpu(table[fd].index, request, argument) : -ENOTTY;
	if (sev)	/* What goes in, what comes out, the bytes: of the command first, of its data then. */
		note("sev", request, result, data, data_size, sev, data_size, extra, extra_size);
	if (!waits) {
		char name[32];
		sprintf(name, role == VCPU ? "%s%d" : "%s", NAMES[role], table[fd].index);
		note(name, request, result, in, size ? size : 8, size ? argument : 0, size, 0, 0);
		pthread_mutex_unlock(&lock);
	}
	free(extra);
	if (result < 0) {
		errno = -result;
		return -1;
	}
	return result;
}
