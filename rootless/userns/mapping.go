// SPDX-License-Identifier: Apache-2.0

package userns

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/pkg/subid"
)

// maxMapLines is how many lines the kernel takes in a uid_map.
const maxMapLines = 340

// Mapping is how ids inside the user's namespace relate to the host's. Inside
// 0 is always the user.
type Mapping struct {
	UIDs, GIDs []spec.IDMap
	// Single says that there is nothing but the user's own id: files of other
	// owners cannot be stored, and processes cannot change their uid.
	Single bool

	newuidmap, newgidmap string
}

// Range is one line of /etc/subuid or /etc/subgid that belongs to the user.
type Range struct{ Start, Count uint32 }

// Subordinate is what the host grants the user.
type Subordinate struct {
	User       string // login name, or the number where the uid has none
	UIDs, GIDs []Range
	Source     string // where the ranges come from
}

// LookupMapping says how the calling user's namespace will be mapped. Where it
// has to be the single-id map the warning says why and what to do; it is empty
// otherwise. It reads files and runs nothing, except getsubids where the host
// keeps subordinate ids in a directory service.
func LookupMapping() (m Mapping, warning string, err error) {
	uid, gid := os.Getuid(), os.Getgid()
	single := Mapping{
		UIDs: []spec.IDMap{{Inside: 0, Outside: uint32(uid), Count: 1}}, Single: true,
		GIDs: []spec.IDMap{{Inside: 0, Outside: uint32(gid), Count: 1}},
	}
	sub, err := LookupSubordinate(uid)
	if err != nil {
		return single, "", err
	}
	if len(sub.UIDs) == 0 || len(sub.GIDs) == 0 {
		return single, withGroups(noRangesWarning(sub, subid.FreeStart()), keptGroups(gid)), nil
	}
	m = Mapping{UIDs: assemble(uint32(uid), sub.UIDs), GIDs: assemble(uint32(gid), sub.GIDs)}
	for _, h := range []struct {
		name string
		path *string
		cap  int
	}{{"newuidmap", &m.newuidmap, unix.CAP_SETUID}, {"newgidmap", &m.newgidmap, unix.CAP_SETGID}} {
		path, why := findHelper(h.name, h.cap)
		if why != "" {
			return single, withGroups(singleWarning+why, keptGroups(gid)), nil
		}
		*h.path = path
	}
	return m, "", nil
}

const singleWarning = "only your own user id is available in containers: "

const fixMark = "; to fix it: "

// keptGroups are the names of the groups that processes keep in a namespace
// with a single id: the kernel denies setgroups(2) there, because leaving a
// group could also open what is closed to its members.
func keptGroups(gid int) (names []string) {
	groups, err := os.Getgroups()
	if err != nil {
		return nil
	}
	slices.Sort(groups)
	for _, g := range slices.Compact(groups) {
		if g == gid {
			continue
		}
		name := strconv.Itoa(g)
		if found, err := user.LookupGroupId(name); err == nil {
			name = found.Name
		}
		names = append(names, name)
	}
	return names
}

// withGroups says in a warning about the single id what else follows from it.
func withGroups(warning string, groups []string) string {
	if len(groups) == 0 {
		return warning
	}
	noun, them := "group", "it"
	if len(groups) > 1 {
		noun, them = "groups", "them"
	}
	why, fix, ok := strings.Cut(warning, fixMark)
	why = fmt.Sprintf("%s; containers keep your %s %s and the access that you have by %s", why, noun, strings.Join(groups, ", "), them)
	if !ok {
		return why
	}
	return why + fixMark + fix
}

func noRangesWarning(sub Subordinate, start uint32) string {
	file := "/etc/subuid and /etc/subgid"
	switch {
	case len(sub.UIDs) > 0:
		file = "/etc/subgid"
	case len(sub.GIDs) > 0:
		file = "/etc/subuid"
	}
	return fmt.Sprintf("%sno line for %s in %s%s%s (or add the line %s:%d:65536)", singleWarning, sub.User, file, fixMark,
		subid.Command(sub.User, start, subid.Usual, len(sub.UIDs) == 0, len(sub.GIDs) == 0), sub.User, start)
}

// LookupSubordinate finds the ranges of uid, from the directory service where
// /etc/nsswitch.conf names one for "subid", else from /etc/subuid and
// /etc/subgid. Missing files are no error.
func LookupSubordinate(uid int) (Subordinate, error) {
	sub := Subordinate{User: subid.LoginName(uid), Source: "/etc/subuid, /etc/subgid"}
	if fromDirectory() {
		if u, g, err := getsubids(sub.User); err == nil {
			sub.UIDs, sub.GIDs, sub.Source = u, g, "getsubids"
			return sub, nil
		}
	}
	var err error
	if sub.UIDs, err = readSubids("/etc/subuid", sub.User, uid); err != nil {
		return sub, err
	}
	sub.GIDs, err = readSubids("/etc/subgid", sub.User, uid)
	return sub, err
}

func readSubids(path, name string, uid int) ([]Range, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errs.Wrap(err, "read subordinate ids", path)
	}
	defer f.Close()
	r, err := parseSubids(f, name, uid)
	return r, errs.Wrap(err, "read subordinate ids", path)
}

// parseSubids reads the lines of name or of uid in the format of subuid(5).
// Lines that make no sense are passed over, as newuidmap does.
func parseSubids(r io.Reader, name string, uid int) ([]Range, error) {
	var out []Range
	number := strconv.Itoa(uid)
	s := bufio.NewScanner(r)
	for s.Scan() {
		owner, start, count, ok := subid.ParseLine(s.Text())
		if ok && (owner == name || owner == number) {
			out = append(out, Range{start, count})
		}
	}
	return out, s.Err()
}

// assemble gives own the id 0 and the ranges the ids from 1 on, in the order
// of the file, so that a line added later moves nobody's files. What overlaps
// an earlier line (or own) is left out: the kernel refuses a map that names an
// id twice.
func assemble(own uint32, ranges []Range) []spec.IDMap {
	taken := []Range{{own, 1}}
	maps := []spec.IDMap{{Inside: 0, Outside: own, Count: 1}}
	next := uint32(1)
	for _, r := range ranges {
		for _, free := range subtract(r, taken) {
			if n := min(free.Count, math.MaxUint32-next); n > 0 {
				last := &maps[len(maps)-1]
				if len(maps) > 1 && last.Outside+last.Count == free.Start {
					last.Count += n
				} else if len(maps) < maxMapLines {
					maps = append(maps, spec.IDMap{Inside: next, Outside: free.Start, Count: n})
				} else {
					return maps
				}
				next += n
			}
		}
		taken = append(taken, r)
	}
	return maps
}

// subtract is r without what lies in taken, ascending.
func subtract(r Range, taken []Range) []Range {
	free := []Range{r}
	for _, t := range taken {
		var next []Range
		for _, f := range free {
			fEnd, tEnd := uint64(f.Start)+uint64(f.Count), uint64(t.Start)+uint64(t.Count)
			if tEnd <= uint64(f.Start) || uint64(t.Start) >= fEnd {
				next = append(next, f)
				continue
			}
			if f.Start < t.Start {
				next = append(next, Range{f.Start, t.Start - f.Start})
			}
			if tEnd < fEnd {
				next = append(next, Range{uint32(tEnd), uint32(fEnd - tEnd)})
			}
		}
		free = next
	}
	return free
}

// fromDirectory reports whether nsswitch.conf sends "subid" anywhere else than
// to the files.
func fromDirectory() bool {
	data, err := os.ReadFile("/etc/nsswitch.conf")
	if err != nil || !bytes.Contains(data, []byte("subid:")) {
		return false
	}
	for line := range bytes.Lines(data) {
		key, value, _ := strings.Cut(string(line), ":")
		if strings.TrimSpace(key) == "subid" {
			f := strings.Fields(value)
			return len(f) > 0 && !slices.Equal(f, []string{"files"})
		}
	}
	return false
}

func getsubids(name string) (uids, gids []Range, err error) {
	u, err := exec.Command("getsubids", name).Output()
	if err != nil {
		return nil, nil, err
	}
	g, err := exec.Command("getsubids", "-g", name).Output()
	if err != nil {
		return nil, nil, err
	}
	return parseGetsubids(string(u)), parseGetsubids(string(g)), nil
}

// parseGetsubids reads lines like "0: alice 100000 65536".
func parseGetsubids(text string) []Range {
	var out []Range
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 4 {
			continue
		}
		if _, start, count, ok := subid.ParseLine(f[1] + ":" + f[2] + ":" + f[3]); ok {
			out = append(out, Range{start, count})
		}
	}
	return out
}

// findHelper looks for newuidmap or newgidmap and for what makes it work: the
// set-user-id bit or a file capability, on a file system that honours them, in
// a process that may gain privileges.
func findHelper(name string, capability int) (path, why string) {
	path, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/usr/bin", "/usr/sbin", "/usr/local/bin"} {
			if p := filepath.Join(dir, name); unix.Access(p, unix.X_OK) == nil {
				path, err = p, nil
				break
			}
		}
	}
	if err != nil {
		return "", fmt.Sprintf("%s is not installed; to fix it: sudo apt-get install uidmap (Debian, Ubuntu) or sudo dnf install shadow-utils (Fedora, RHEL)", name)
	}
	if isForeign(path) {
		return "", fmt.Sprintf("%s cannot work here: its owner, root, has no id in this user namespace; to fix it: give the outer container or namespace more ids, root's among them", path)
	}
	if !privileged(path, capability) {
		return "", fmt.Sprintf("%s is not set-user-id root; to fix it: sudo chmod u+s %s (the owner has to be root)", path, path)
	}
	var fsInfo unix.Statfs_t
	if unix.Statfs(path, &fsInfo) == nil && fsInfo.Flags&unix.ST_NOSUID != 0 {
		return "", fmt.Sprintf("%s lies on a file system mounted with nosuid; to fix it: remount that file system with suid", path)
	}
	if nnp, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); nnp == 1 {
		return "", fmt.Sprintf("this process has no_new_privs set, so %s cannot work; to fix it: start it from a shell or unit without NoNewPrivileges", path)
	}
	return path, ""
}

// isForeign says that the program is set-user-id for somebody whom the user namespace
// around does not have: an outer container, or a shell of unshare(1).
func isForeign(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_ISUID != 0 && st.Uid == overflowID && !mapped("/proc/self/uid_map", overflowID)
}

// overflowID is shown for owners without an id.
const overflowID = 65534

func mapped(file string, id uint32) bool {
	maps, err := readMap(file)
	if err != nil {
		return true
	}
	return slices.ContainsFunc(maps, func(m spec.IDMap) bool { return id >= m.Inside && id-m.Inside < m.Count })
}

func privileged(path string, capability int) bool {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return false
	}
	if st.Uid == 0 && st.Mode&unix.S_ISUID != 0 {
		return true
	}
	// struct vfs_cap_data: the low permitted set is the second little-endian word.
	xattr := make([]byte, 64)
	n, err := unix.Getxattr(path, "security.capability", xattr)
	if err != nil || n < 8 {
		return false
	}
	permitted := uint32(xattr[4]) | uint32(xattr[5])<<8 | uint32(xattr[6])<<16 | uint32(xattr[7])<<24
	return permitted&(1<<capability) != 0
}

// parseIDMap reads a uid_map or gid_map.
func parseIDMap(text string) []spec.IDMap {
	var out []spec.IDMap
	for line := range strings.Lines(text) {
		var m spec.IDMap
		if n, err := fmt.Sscan(line, &m.Inside, &m.Outside, &m.Count); err == nil && n == 3 {
			out = append(out, m)
		}
	}
	return out
}
