// SPDX-License-Identifier: Apache-2.0

package userns

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/subid"
)

const (
	envChild  = "USERNS_TEST_CHILD" // what this binary does instead of testing
	envAsUser = "USERNS_TEST_AS_USER"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(envChild); what != "" {
		os.Exit(children()[what]())
	}
	os.Exit(m.Run())
}

// asUser lets a test run as an unprivileged user that has subordinate ids. As
// root it runs this one test again in a copy of the test binary and returns
// true: the caller is done.
func asUser(t *testing.T) (done bool) {
	t.Helper()
	if os.Getuid() != 0 {
		if m, warning, err := LookupMapping(); err != nil || m.Single {
			t.Skipf("this user has no subordinate ids: %v %s", err, warning)
		}
		return false
	}
	u := testUser(t)
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	bin := publicCopy(t)
	work := filepath.Join(filepath.Dir(bin), "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(work, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + work, "TMPDIR=" + work, envAsUser + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	out, err := cmd.CombinedOutput()
	t.Logf("as %s:\n%s", u.Username, out)
	if err != nil {
		t.Errorf("as %s: %v", u.Username, err)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skip("skipped as the user, see above")
	}
	return true
}

// testUser is PROA_TEST_USER, else the first user in /etc/subuid.
func testUser(t *testing.T) *user.User {
	t.Helper()
	names := []string{os.Getenv("PROA_TEST_USER")}
	if f, err := os.Open("/etc/subuid"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if name, _, _, ok := subid.ParseLine(s.Text()); ok {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		if u, err := user.Lookup(name); err == nil && u.Uid != "0" {
			return u
		}
	}
	t.Skip("no unprivileged user with a line in /etc/subuid: useradd -m proa-test, or set PROA_TEST_USER")
	return nil
}

// publicCopy copies the test binary where any user may execute it: the
// directory that go test builds in is root's own.
func publicCopy(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "userns-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	bin := filepath.Join(dir, "userns.test")
	out, err := os.OpenFile(bin, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return bin
}

// running is a child of a test: it answers on out until its stdin closes.
type running struct {
	pid   int
	stdin *os.File
	out   *bufio.Reader
	lines map[string]string // what it told about itself
}

// childCommand is this binary in the role what. Its stdin and stdout are pipes
// whose other ends are returned.
func childCommand(t *testing.T, what string, args ...string) (cmd *exec.Cmd, stdin, stdout *os.File) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), envChild+"="+what)
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, os.Stderr
	t.Cleanup(func() { inR.Close(); inW.Close(); outR.Close(); outW.Close() })
	return cmd, inW, outR
}

func begin(t *testing.T, n *Namespace, o Options, what string, args ...string) *running {
	t.Helper()
	cmd, stdin, stdout := childCommand(t, what, args...)
	c, err := n.Start(cmd, o)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := c.Ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin.(*os.File).Close()
	cmd.Stdout.(*os.File).Close()
	r := &running{pid: pid, stdin: stdin, out: bufio.NewReader(stdout), lines: map[string]string{}}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	for {
		line, err := r.out.ReadString('\n')
		if err != nil {
			t.Fatalf("child %s: %v", what, err)
		}
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "end" {
			return r
		}
		r.lines[key] = value
	}
}

// gone waits until pid is dead; one that nobody has reaped yet is dead too.
func gone(pid int) bool {
	for range 500 {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(data), ") Z ") || strings.Contains(string(data), ") X ") {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}
