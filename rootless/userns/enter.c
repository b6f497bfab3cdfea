// SPDX-License-Identifier: Apache-2.0

// Enters (or makes) namespaces before the Go runtime starts: setns and
// unshare of a user namespace are refused to a process with threads, and every
// Go process has some. Does nothing unless the environment holds _PROA_ENTER,
// and is done before libcontainer's own constructor could matter (that one
// looks for _LIBCONTAINER_INITPIPE only).
//
//   parent (Go, child.go)          this process                    helpers
//        | fork+exec, _PROA_ENTER       |
//        |----------------------------->|  create:
//        |                              |-- fork, fork ------------> wait for EOF
//        |                              | unshare(user), dumpable
//        |                              |-- close the pipe --------> newuidmap | newgidmap
//        |                              | unshare(mount, pid)          exit status
//        |                              |<--------------------------------
//        |                              |  join: setns(user), unshare(mount, pid)
//        |   PROA_PID                   |-- fork (new pid namespace only)
//        |<-----------------------------|        | setsid, /proc
//        | waitpid: this one exits      X        |
//        |   PROA_READY                          |
//        |<--------------------------------------|
//        |                                       | Go runtime, main()
//
// Whatever fails is told to the parent as PROA_FAILED with the step; what the
// helpers print travels over the same socket as messages without our magic.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "enter.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4U
#endif

#define MAX_ARGS 1100 // 340 map lines of three words, the kernel's limit

extern char **environ;

static int entered;

int proa_userns_entered(void) { return entered; }

struct config {
	int report; // socket to the parent
	int ns;     // user namespace to join, or -1
	int keep;   // descriptors from here on are nobody's: closed
	int create, mount, pid;
	int death, parent; // signal to get when the parent dies, the parent's pid
	char *uidmap, *gidmap;       // helper command lines, tab separated
	char *single_uid, *single_gid; // else the maps themselves
};

static void report(const struct config *c, int message, int value, int error)
{
	struct proa_report r = { PROA_MAGIC, message, value, error };

	// A parent that is gone is no reason for SIGPIPE.
	(void)!send(c->report, &r, sizeof(r), MSG_NOSIGNAL);
}

static void __attribute__((noreturn)) fail(const struct config *c, int step, int error)
{
	report(c, PROA_FAILED, step, error);
	_exit(125);
}

// take_config removes the variable from the environment in place, so that
// neither the Go runtime (which reads the same array) nor any child sees it.
static char *take_config(void)
{
	static const char name[] = "_PROA_ENTER=";
	char *value = NULL;
	char **from, **to;

	for (from = to = environ; from && *from; from++) {
		if (strncmp(*from, name, sizeof(name) - 1) == 0)
			value = *from + sizeof(name) - 1;
		else
			*to++ = *from;
	}
	if (value)
		*to = NULL;
	return value;
}

// parse reads lines of one key letter and a value; it cuts text up in place.
static int parse(char *text, struct config *c)
{
	char *line, *save = NULL;

	memset(c, 0, sizeof(*c));
	c->report = c->ns = -1;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *v = line + 1;

		switch (line[0]) {
		case 'r': c->report = atoi(v); break;
		case 'n': c->ns = atoi(v); break;
		case 'k': c->keep = atoi(v); break;
		case 'c': c->create = 1; break;
		case 'm': c->mount = 1; break;
		case 'p': c->pid = 1; break;
		case 'd': c->death = atoi(v); break;
		case 'P': c->parent = atoi(v); break;
		case 'u': c->uidmap = v; break;
		case 'g': c->gidmap = v; break;
		case 'U': c->single_uid = v; break;
		case 'G': c->single_gid = v; break;
		default: return -1;
		}
	}
	if (c->report < 3 || c->keep <= c->report || (c->create && c->ns >= 0))
		return -1;
	if (c->create && !(c->uidmap && c->gidmap) && !(c->single_uid && c->single_gid))
		return -1;
	return 0;
}

// reset_signals: a caller's blocked or ignored signals must not reach a
// monitor, which would pass them on to the container. A process that stays in
// its caller's session keeps what is ignored there (nohup).
static void reset_signals(const struct config *c)
{
	sigset_t none;
	int s;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGCHLD, SIG_DFL); // ignored, it would make waitpid lose the helpers
	if (!c->pid)
		return;
	for (s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
}

static void close_slowly(int first)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (fd >= first && fd != dirfd(d))
			close(fd);
	}
	closedir(d);
}

// close_strays: a descriptor that our caller leaked to the front end (the
// write end of somebody's pipe, say) would be held open as long as the
// container lives. What was passed on purpose does not survive an exec.
static void close_strays(const struct config *c)
{
	int fd;

	if (syscall(SYS_close_range, c->keep, ~0U, 0) != 0)
		close_slowly(c->keep);
	if (syscall(SYS_close_range, 3, c->keep - 1, CLOSE_RANGE_CLOEXEC) != 0)
		for (fd = 3; fd < c->keep; fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
}

// helper waits until the pipe closes, then becomes newuidmap or newgidmap for
// process target. It stays in the user namespace where it was born.
static void __attribute__((noreturn)) helper(const struct config *c, char *command, pid_t target, const int gate[2])
{
	char *argv[MAX_ARGS + 1], number[16], *word, *save = NULL;
	int n = 0;
	char byte;

	close(gate[1]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(gate[0], &byte, 1) < 0 && errno == EINTR)
		;
	snprintf(number, sizeof(number), "%d", (int)target);
	for (word = strtok_r(command, "\t", &save); word && n < MAX_ARGS; word = strtok_r(NULL, "\t", &save)) {
		argv[n++] = word;
		if (n == 1)
			argv[n++] = number;
	}
	argv[n] = NULL;
	dup2(c->report, 1);
	dup2(c->report, 2);
	if (n > 0)
		execv(argv[0], argv);
	_exit(127);
}

static int helper_status(pid_t pid, int bit)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return bit;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return bit | 4;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : bit;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int e;

	if (fd < 0)
		return errno;
	e = write(fd, text, strlen(text)) < 0 ? errno : 0;
	close(fd);
	return e;
}

static void map_single(const struct config *c)
{
	// The kernel wants setgroups off before an unprivileged gid_map.
	int e = write_file("/proc/self/setgroups", "deny");

	if (e && e != ENOENT)
		fail(c, PROA_STEP_SINGLE_MAP, e);
	if ((e = write_file("/proc/self/uid_map", c->single_uid)) || (e = write_file("/proc/self/gid_map", c->single_gid)))
		fail(c, PROA_STEP_SINGLE_MAP, e);
}

static void unshare_rest(const struct config *c)
{
	if (c->mount && unshare(CLONE_NEWNS) != 0)
		fail(c, PROA_STEP_UNSHARE_MOUNT, errno);
	if (c->pid && unshare(CLONE_NEWPID) != 0)
		fail(c, PROA_STEP_UNSHARE_PID, errno);
}

// set_dumpable: the kernel clears the flag whenever credentials grow, and then
// /proc/self belongs to root: newuidmap refuses, and no other command of the
// same user could open our namespace.
static void set_dumpable(void) { prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }

static void create_user_namespace(const struct config *c)
{
	pid_t self = getpid(), u = 0, g = 0;
	int gate[2] = { -1, -1 };
	int bad;

	if (c->uidmap) {
		if (pipe2(gate, O_CLOEXEC) != 0 || (u = fork()) < 0)
			fail(c, PROA_STEP_FORK, errno);
		if (u == 0)
			helper(c, c->uidmap, self, gate);
		if ((g = fork()) < 0)
			fail(c, PROA_STEP_FORK, errno);
		if (g == 0)
			helper(c, c->gidmap, self, gate);
	}
	if (unshare(CLONE_NEWUSER) != 0) {
		int e = errno;

		// Not to be let loose on a process that is in no new namespace.
		if (u)
			kill(u, SIGKILL), kill(g, SIGKILL);
		fail(c, PROA_STEP_UNSHARE_USER, e);
	}
	set_dumpable();
	if (!c->uidmap) {
		map_single(c);
		unshare_rest(c);
		return;
	}
	close(gate[0]);
	close(gate[1]);
	unshare_rest(c);
	bad = helper_status(u, 1) | helper_status(g, 2);
	if (bad)
		fail(c, PROA_STEP_HELPER, bad);
}

static void join_user_namespace(const struct config *c)
{
	if (setns(c->ns, CLONE_NEWUSER) != 0)
		fail(c, PROA_STEP_SETNS, errno);
	close(c->ns);
	unshare_rest(c);
}

// become_root: our own ids are 0 inside already, unless this command runs with
// another group than the one that made the namespace (newgrp, sg, sudo -g).
static void become_root(const struct config *c)
{
	if (getegid() != 0 || getgid() != 0)
		if (setresgid(0, 0, 0) != 0)
			fail(c, PROA_STEP_SETID, errno);
	if (geteuid() != 0 || getuid() != 0)
		if (setresuid(0, 0, 0) != 0)
			fail(c, PROA_STEP_SETID, errno);
	set_dumpable();
}

static void watch_parent(const struct config *c)
{
	if (!c->death)
		return;
	prctl(PR_SET_PDEATHSIG, c->death); // after the last change of credentials, which clears it
	if (getppid() != c->parent)
		_exit(125);
}

static void settle_session(void)
{
	setsid();
	if (chdir("/") != 0) { // do not pin the file system we were started in
	}
}

// become_init continues as process 1 of a pid namespace. The first process
// exits at once, having told the pid under which others know its child.
static void become_init(const struct config *c)
{
	pid_t child = fork();

	if (child < 0)
		fail(c, PROA_STEP_FORK, errno);
	if (child > 0) {
		report(c, PROA_PID, child, 0);
		_exit(0);
	}
	settle_session();
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
		fail(c, PROA_STEP_PROC, errno);
}

__attribute__((constructor)) static void proa_enter(void)
{
	char *text = take_config();
	struct config c;

	if (!text)
		return;
	if (parse(text, &c) != 0) {
		static const char message[] = "proa: cannot enter namespaces: _PROA_ENTER is malformed\n";

		(void)!write(2, message, sizeof(message) - 1);
		_exit(125);
	}
	reset_signals(&c);
	close_strays(&c);
	if (c.create)
		create_user_namespace(&c);
	if (c.ns >= 0)
		join_user_namespace(&c);
	else if (!c.create)
		unshare_rest(&c);
	if (c.create || c.ns >= 0)
		become_root(&c);
	else if (c.mount && mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
		// With a user namespace of its own the kernel has done this already.
		fail(&c, PROA_STEP_PROPAGATION, errno);
	if (c.pid)
		become_init(&c);
	else
		watch_parent(&c);
	entered = 1;
	report(&c, PROA_READY, 0, 0);
	close(c.report);
}
