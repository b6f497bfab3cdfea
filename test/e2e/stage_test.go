// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/proa-containers/proa/test/images"
)

// stage is everything that the sets share. It lives in the parent.
type stage struct {
	dir      string // world-readable: bin/, testdata/, registries.conf, facts.json
	missing  map[string]error
	registry *images.Registry
	root     *rootService
	client   clientMachine
	running  *os.File // holds a shared lock: other runs see that they are not alone
}

// facts is what the parent tells the children, in the stage's facts.json.
type facts struct {
	Images   []string // references that the registry serves
	Mirror   string   // URI of the package archive, "" without one
	Netns    string   // name of the other machine's network namespace
	Veth     string   // this machine's interface towards it
	ClientIP string   // its address
	HostIP   string   // this machine's address as it sees it
}

var (
	theStage  *stage
	stageOnce sync.Once
	stageErr  error
)

func getStage(t *testing.T) (*stage, error) {
	stageOnce.Do(func() {
		began := time.Now()
		theStage, stageErr = newStage(t)
		t.Logf("stage ready after %.1f s", time.Since(began).Seconds())
	})
	return theStage, stageErr
}

func newStage(t *testing.T) (*stage, error) {
	dir, err := os.MkdirTemp("/var/tmp", "proa-e2e-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, client: newClientMachine()}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	cache := images.Cache{Dir: images.DefaultDir(), Log: func(f string, a ...any) {
		fmt.Fprintf(os.Stderr, f+"\n", a...)
	}}
	if s.missing, err = cache.Build(); err != nil {
		return s, err
	}
	if s.running, err = os.OpenFile(filepath.Join(cache.Dir, "running"), os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return s, err
	}
	if err := syscall.Flock(int(s.running.Fd()), syscall.LOCK_SH); err != nil {
		return s, err
	}
	for name, why := range s.missing {
		fmt.Fprintf(os.Stderr, "no image layer %q: %v\n", name, why)
	}
	if s.registry, err = cache.Serve(s.missing); err != nil {
		return s, err
	}
	if err := s.copyIn(cache); err != nil {
		return s, err
	}
	if err := s.client.add(); err != nil {
		return s, err
	}
	if s.root, err = serveRoot(filepath.Join(dir, "root.sock")); err != nil {
		return s, err
	}
	return s, nil
}

// copyIn puts what the child needs where every user can read it: the checkout
// may lie in somebody's private home.
func (s *stage) copyIn(cache images.Cache) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(s.dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for name, from := range map[string]string{"proa": "../../bin/proa", "proa-monitor": "../../bin/proa-monitor", "e2e.test": self} {
		data, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("%w (make build)", err)
		}
		if err := os.WriteFile(filepath.Join(bin, name), data, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("proa", filepath.Join(bin, "docker")); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(s.dir, "testdata"), os.DirFS("testdata")); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(s.dir, "docs"), os.DirFS("../../docs")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "skips.txt"), mustRead("../skips.txt"), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "failpoints.txt"), []byte(strings.Join(failpointNames("../.."), "\n")), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "registries.conf"), []byte(s.registry.Conf()), 0o644); err != nil {
		return err
	}
	if err := cache.SaveArchives(filepath.Join(s.dir, "archives")); err != nil {
		return err
	}
	f, err := json.Marshal(facts{Images: s.registry.Images, Mirror: mirror(s.missing), Netns: s.client.netns, Veth: s.client.veth, ClientIP: s.client.ip, HostIP: s.client.hostIP})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "facts.json"), f, 0o644)
}

func mirror(missing map[string]error) string {
	if missing["debian"] != nil {
		return ""
	}
	uri, err := images.Mirror()
	if err != nil {
		return ""
	}
	return uri
}

func mustRead(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		panic(err) // a file of this repository
	}
	return data
}

func (s *stage) close() {
	if s.root != nil {
		s.root.close()
	}
	if s.registry != nil {
		s.registry.Close()
	}
	s.client.remove()
	if s.running != nil {
		s.running.Close()
	}
	if os.Getenv("PROA_TEST_KEEP") == "" {
		os.RemoveAll(s.dir)
	}
}

// clientMachine is a network namespace with an address of its own that reaches
// this host: the tests' other machine. Two runs at once have two of them.
type clientMachine struct{ netns, veth, ip, hostIP string }

func newClientMachine() clientMachine {
	pid := os.Getpid()
	// RFC 2544's network: never a real neighbour.
	net := fmt.Sprintf("198.18.%d.", pid%256)
	return clientMachine{netns: fmt.Sprintf("proa-e2e-%d", pid), veth: fmt.Sprintf("pe%d", pid), ip: net + "2", hostIP: net + "1"}
}

func (c clientMachine) remove() {
	if c.netns != "" {
		exec.Command("ip", "link", "del", c.veth).Run()
		exec.Command("ip", "netns", "del", c.netns).Run()
	}
}

func (c clientMachine) add() error {
	clientNetns, clientVeth, clientIP, hostIP := c.netns, c.veth, c.ip, c.hostIP
	for _, line := range []string{
		"ip netns add " + clientNetns,
		"ip link add " + clientVeth + " type veth peer name eth0 netns " + clientNetns,
		"ip addr add " + hostIP + "/24 dev " + clientVeth,
		"ip link set " + clientVeth + " up",
		"ip netns exec " + clientNetns + " ip addr add " + clientIP + "/24 dev eth0",
		"ip netns exec " + clientNetns + " ip link set eth0 up",
		"ip netns exec " + clientNetns + " ip link set lo up",
	} {
		f := strings.Fields(line)
		if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	return nil
}

// alone says that no other run of these tests goes on: its processes are the
// same user's and no leak of ours.
func (s *stage) alone() bool {
	if err := syscall.Flock(int(s.running.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return false
	}
	return syscall.Flock(int(s.running.Fd()), syscall.LOCK_SH) == nil
}

// account is the user of one set.
type account struct {
	name       string
	uid, gid   uint32
	home, run  string
	subID      uint32 // first subordinate id, 0: none
	subIDCount uint32
}

// makeAccount creates the user where missing, with or without subordinate ids,
// a home and a runtime directory like the one that a login makes.
func makeAccount(s set) (account, error) {
	if s.user == "root" {
		return account{name: "root", home: "/root", run: "/run"}, nil
	}
	if _, err := user.Lookup(s.user); err != nil {
		if out, err := exec.Command("useradd", "--create-home", "--shell", "/bin/bash", s.user).CombinedOutput(); err != nil {
			return account{}, fmt.Errorf("cannot create the user %s: %w: %s", s.user, err, out)
		}
	}
	u, err := user.Lookup(s.user)
	if err != nil {
		return account{}, err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	a := account{name: s.user, uid: uint32(uid), gid: uint32(gid), home: u.HomeDir, run: "/run/user/" + u.Uid}
	if err := setSubIDs(s.user, s.subIDs); err != nil {
		return a, err
	}
	if s.subIDs {
		a.subID, a.subIDCount = subIDs(s.user)
	}
	if err := os.MkdirAll(a.run, 0o700); err != nil {
		return a, err
	}
	return a, os.Chown(a.run, uid, gid)
}

// setSubIDs gives name a range (useradd did where the system is set up so), or
// takes it away.
func setSubIDs(name string, want bool) error {
	first, _ := subIDs(name)
	if want == (first != 0) {
		return nil
	}
	if want {
		return exec.Command("bash", "-c", "cd ../.. && . hack/lib.sh && need_subids "+name).Run()
	}
	return exec.Command("sed", "-i", "/^"+name+":/d", "/etc/subuid", "/etc/subgid").Run()
}

func subIDs(name string) (first, count uint32) {
	data, _ := os.ReadFile("/etc/subuid")
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 3 && f[0] == name {
			a, _ := strconv.ParseUint(f[1], 10, 32)
			b, _ := strconv.ParseUint(f[2], 10, 32)
			return uint32(a), uint32(b)
		}
	}
	return 0, 0
}

// runChild starts this program again as the set's user and waits for its end.
// Afterwards nothing that belongs to the user may be left.
func (s *stage) runChild(t *testing.T, st set) error {
	a, err := makeAccount(st)
	if err != nil {
		return err
	}
	work := filepath.Join(s.dir, st.dir)
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	if err := os.Chown(work, int(a.uid), int(a.gid)); err != nil {
		return err
	}
	if err := os.Chown(filepath.Join(s.dir, "root.sock"), int(a.uid), int(a.gid)); err != nil {
		return err
	}
	before := snapshot(a)
	cmd := exec.Command(filepath.Join(s.dir, "bin/e2e.test"), childRun(childFlags(), t.Name())...)
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = []string{
		"PATH=" + filepath.Join(s.dir, "bin") + ":" + filepath.Join(s.dir, "testdata/bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + a.home, "USER=" + a.name, "XDG_RUNTIME_DIR=" + a.run, "LANG=C.UTF-8", "TERM=xterm",
		stageEnv + "=" + s.dir,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
	err = cmd.Run()
	if left := snapshot(a).settled(a, before); len(left) > 0 && s.alone() {
		err = errors.Join(err, fmt.Errorf("left behind by the whole set:\n\t%s", strings.Join(left, "\n\t")))
	}
	return err
}

func trimmed(b []byte) string { return string(bytes.TrimSpace(b)) }
