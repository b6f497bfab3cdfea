// SPDX-License-Identifier: Apache-2.0

// Package subid reads /etc/subuid and /etc/subgid, and writes the hint how to get more
// subordinate ids, with a range that no other user has.
package subid

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// EnvUID is the variable that has the user's id on the host, for a process that is
// root in the user's namespace.
const EnvUID = "_CONTAINERS_ROOTLESS_UID"

// Usual is the size of a range that useradd gives.
const Usual = 65536

// Hint tells the calling user how to get more subordinate ids.
func Hint() string { return HintFor(0, 0) }

// HintFor tells the calling user, whose namespace has the ids below have, how to get the
// id want.
func HintFor(have, want int64) string {
	size := (max(want+1-have, 1) + Usual - 1) / Usual * Usual
	start := FreeStart()
	if int64(start)+size > math.MaxInt32 {
		return fmt.Sprintf("choose an id below %d: those are the ones that /etc/subuid and /etc/subgid give you", have)
	}
	return "get more subordinate ids: " + Command(LoginName(HostUID()), start, uint32(size), true, true)
}

// Command is the command line that gives a user a range.
func Command(name string, start, size uint32, uids, gids bool) string {
	r := fmt.Sprintf("%d-%d", start, start+size-1)
	line := "sudo usermod"
	if uids {
		line += " --add-subuids " + r
	}
	if gids {
		line += " --add-subgids " + r
	}
	return line + " " + name
}

// Mapped is the number of ids from 0 on in the user namespace of this process.
func Mapped() (n int64) {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var inside, outside, count int64
		if k, err := fmt.Sscan(line, &inside, &outside, &count); err == nil && k == 3 {
			n = max(n, inside+count)
		}
	}
	return n
}

// HostUID is the user's number on the host, inside of the user's namespace too,
// where this process's own is 0.
func HostUID() int {
	if uid, err := strconv.Atoi(os.Getenv(EnvUID)); err == nil && uid > 0 && os.Geteuid() == 0 {
		return uid
	}
	return os.Getuid()
}

// FreeStart proposes a start for a range that overlaps nobody's.
func FreeStart() uint32 {
	next := uint32(100000)
	for _, name := range []string{"/etc/subuid", "/etc/subgid"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		s := bufio.NewScanner(f)
		for s.Scan() {
			if _, start, count, ok := ParseLine(s.Text()); ok && start < math.MaxUint32-1<<20-count {
				next = max(next, start+count)
			}
		}
		f.Close()
	}
	return next
}

// ParseLine reads a line of subuid(5). One that makes no sense is passed over, as
// newuidmap does.
func ParseLine(line string) (owner string, start, count uint32, ok bool) {
	owner, rest, found := strings.Cut(strings.TrimSpace(line), ":")
	if !found || owner == "" || owner[0] == '#' {
		return "", 0, 0, false
	}
	first, size, found := strings.Cut(rest, ":")
	if !found {
		return "", 0, 0, false
	}
	from, err1 := strconv.ParseUint(first, 10, 32)
	n, err2 := strconv.ParseUint(size, 10, 32)
	if err1 != nil || err2 != nil || n == 0 {
		return "", 0, 0, false
	}
	// 2^32-1 is "no id": a range may end just before it.
	if from+n > math.MaxUint32 {
		return "", 0, 0, false
	}
	return owner, uint32(from), uint32(n), true
}

// LoginName asks /etc/passwd first: the name services cost a dynamic library
// or two and are needed only for users that are not local.
func LoginName(uid int) string {
	number := strconv.Itoa(uid)
	if data, err := os.ReadFile("/etc/passwd"); err == nil {
		for line := range bytes.Lines(data) {
			f := bytes.SplitN(line, []byte(":"), 4)
			if len(f) == 4 && string(f[2]) == number {
				return string(f[0])
			}
		}
	}
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}
