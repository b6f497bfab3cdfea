// SPDX-License-Identifier: Apache-2.0

// What enter.c and child.go agree on: see the picture in enter.c.
#ifndef PROA_ENTER_H
#define PROA_ENTER_H

#include <stdint.h>

#define PROA_MAGIC 0x50524f41u

enum proa_message {
	PROA_PID = 1,   // value: the final process's pid as the parent sees it
	PROA_READY = 2, // everything is entered; the program follows
	PROA_FAILED = 3 // value: the step, error: errno (or the helpers' bits)
};

enum proa_step {
	PROA_STEP_CONFIG = 1,
	PROA_STEP_FORK,
	PROA_STEP_UNSHARE_USER,
	PROA_STEP_HELPER,     // error: 1 newuidmap failed, 2 newgidmap failed, 4 could not be executed
	PROA_STEP_SINGLE_MAP, // writing our own uid_map and gid_map
	PROA_STEP_SETNS,
	PROA_STEP_SETID,
	PROA_STEP_UNSHARE_MOUNT,
	PROA_STEP_UNSHARE_PID,
	PROA_STEP_PROPAGATION,
	PROA_STEP_PROC
};

struct proa_report {
	uint32_t magic;
	int32_t message;
	int32_t value;
	int32_t error;
};

int proa_userns_entered(void);

#endif
