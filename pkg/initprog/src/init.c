// SPDX-License-Identifier: Apache-2.0

// The program of --init: process 1 of a container, in front of the command.
// Health checks run below it, too, as a child subreaper, in a container that may
// have another process 1. It has no C library, for it runs in whatever image there is.
//
//	init -- COMMAND [ARGUMENT...]
//
// It passes every signal on to the command, reaps the orphans that the kernel
// gives to process 1, and ends with the command's own code: 128+n for signal
// n, 127 where there is no such command, 126 where it cannot be run.

#if defined(__x86_64__)
enum { SYS_write = 1, SYS_rt_sigaction = 13, SYS_rt_sigprocmask = 14, SYS_ioctl = 16, SYS_getpid = 39, SYS_clone = 56,
       SYS_execve = 59, SYS_wait4 = 61, SYS_kill = 62, SYS_setpgid = 109, SYS_rt_sigtimedwait = 128, SYS_exit_group = 231 };

static long sys(long n, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = 0;
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return ret;
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall run\n\thlt\n");

#elif defined(__aarch64__)
enum { SYS_write = 64, SYS_rt_sigaction = 134, SYS_rt_sigprocmask = 135, SYS_ioctl = 29, SYS_getpid = 172, SYS_clone = 220,
       SYS_execve = 221, SYS_wait4 = 260, SYS_kill = 129, SYS_setpgid = 154, SYS_rt_sigtimedwait = 137, SYS_exit_group = 94 };

static long sys(long n, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = 0;
	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}

__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl run\n\tbrk #0\n");
#endif

enum { SIGCHLD = 17, SIG_SETMASK = 2, WNOHANG = 1, TIOCSPGRP = 0x5410, EINTR = 4, ENOENT = 2, EACCES = 13, ENOTDIR = 20 };
enum { PATH_SIZE = 4096 };

static void quit(int code)
{
	for (;;)
		sys(SYS_exit_group, code, 0, 0, 0);
}

static long length(const char *s)
{
	long n = 0;
	while (s[n])
		n++;
	return n;
}

static void say(const char *s) { sys(SYS_write, 2, (long)s, length(s), 0); }

static const char *path_of(char **env)
{
	for (; *env; env++) {
		const char *e = *env;
		if (e[0] == 'P' && e[1] == 'A' && e[2] == 'T' && e[3] == 'H' && e[4] == '=')
			return e + 5;
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

// search tries name in each directory of PATH and returns the error that says
// most: a file that was there but not to be run, before "not found".
static long search(const char *name, char **argv, char **env)
{
	const char *p = path_of(env);
	char buf[PATH_SIZE];
	long result = -ENOENT, size = length(name);
	for (;;) {
		long n = 0, i;
		while (*p && *p != ':') {
			if (n + size + 2 < PATH_SIZE)
				buf[n++] = *p;
			p++;
		}
		if (n + size + 2 < PATH_SIZE) {
			if (n)
				buf[n++] = '/';
			for (i = 0; i <= size; i++)
				buf[n + i] = name[i];
			long err = sys(SYS_execve, (long)buf, (long)argv, (long)env, 0);
			if (err != -ENOENT && err != -ENOTDIR)
				result = err;
			if (result != -ENOENT && result != -EACCES)
				return result;
		}
		if (!*p)
			return result;
		p++;
	}
}

static void run_command(char **argv, char **env, unsigned long *mask)
{
	// A process group of its own, in the foreground if there is a terminal:
	// Ctrl-C is for the command, and not twice.
	sys(SYS_setpgid, 0, 0, 0, 0);
	int pgrp = (int)sys(SYS_getpid, 0, 0, 0, 0);
	sys(SYS_ioctl, 0, TIOCSPGRP, (long)&pgrp, 0);
	sys(SYS_rt_sigprocmask, SIG_SETMASK, (long)mask, 0, sizeof *mask);
	long err, slash = 0;
	for (const char *c = argv[0]; *c; c++)
		slash |= *c == '/';
	if (slash)
		err = sys(SYS_execve, (long)argv[0], (long)argv, (long)env, 0);
	else
		err = search(argv[0], argv, env);
	int missing = err == -ENOENT || err == -ENOTDIR;
	say("init: cannot run \"");
	say(argv[0]);
	say(missing ? "\": not found\n" : err == -EACCES ? "\": permission denied\n" : "\": not a program of this machine\n");
	quit(missing ? 127 : 126);
}

// reap takes every process that has ended, and ends with the command: after the
// others, for whoever inherits them may never look at them.
static void reap(long child)
{
	int status, code = -1;
	for (;;) {
		long pid = sys(SYS_wait4, -1, (long)&status, WNOHANG, 0);
		if (pid == -EINTR)
			continue;
		if (pid <= 0)
			break;
		if (pid == child)
			code = status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
	}
	if (code >= 0)
		quit(code);
}

__attribute__((used, noreturn)) void run(long *stack)
{
	char **argv = (char **)(stack + 1), **env = argv + stack[0] + 1;
	unsigned long all = ~0UL, before, action[4] = {0, 0, 0, 0};
	if (*argv)
		argv++;
	if (*argv && argv[0][0] == '-' && argv[0][1] == '-' && !argv[0][2])
		argv++;
	if (!*argv) {
		say("init: no command\n");
		quit(127);
	}
	// Blocked signals wait for rt_sigtimedwait; none is lost, none kills us.
	sys(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, sizeof all);
	sys(SYS_rt_sigaction, SIGCHLD, (long)action, 0, sizeof all); // ignored, there would be nothing to wait for
	long child = sys(SYS_clone, SIGCHLD, 0, 0, 0);
	if (child == 0)
		run_command(argv, env, &before);
	if (child < 0) {
		say("init: cannot make a process\n");
		quit(126);
	}
	for (;;) {
		long sig = sys(SYS_rt_sigtimedwait, (long)&all, 0, 0, sizeof all);
		if (sig == SIGCHLD)
			reap(child);
		else if (sig > 0)
			sys(SYS_kill, child, sig, 0, 0);
	}
}
