// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/proa-containers/proa/pkg/errs"
)

// TestLinksStayInside: a link of the image must not lead to the host's files.
func TestLinksStayInside(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	inside := filepath.Join(dir, "root")
	for _, d := range []string{outside, filepath.Join(inside, "etc"), filepath.Join(inside, "bin")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.WriteFile(filepath.Join(outside, "passwd"), []byte("evil:x:0:0::/:/bin/sh\n"), 0o644)
	_ = os.WriteFile(filepath.Join(outside, "tool"), nil, 0o755)
	_ = os.Symlink(filepath.Join(outside, "passwd"), filepath.Join(inside, "etc/passwd"))
	_ = os.Symlink("../../../../../.."+filepath.Join(outside, "tool"), filepath.Join(inside, "bin/tool"))
	_ = os.Symlink(outside, filepath.Join(inside, "out"))
	root, err := OpenRoot(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := ResolveUser(root, "evil", nil); err == nil {
		t.Error("a user of the host was found")
	}
	f := Finder{Root: root}
	if err := (&Attempt{Finder: f, Name: "tool", Path: "/bin", Dir: "/", Override: true}).Explain(); !errs.Is(err, errs.CommandMissing) {
		t.Errorf("a program of the host was found: %v", err)
	}
	_ = EnsureDir(f, "/out/new")
	if _, err := os.Lstat(filepath.Join(outside, "new")); err == nil {
		t.Error("a directory was made on the host")
	}
}

func TestFinderMounts(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"root/app", "vol"} {
		_ = os.MkdirAll(filepath.Join(dir, d), 0o755)
	}
	_ = os.WriteFile(filepath.Join(dir, "root/app/old"), nil, 0o755)
	_ = os.WriteFile(filepath.Join(dir, "vol/new"), nil, 0o755)
	root, err := OpenRoot(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f := Finder{root, map[string]Place{"/app": {Dir: filepath.Join(dir, "vol")}, "/tmp": {}}}
	for p, there := range map[string]bool{"/app/new": true, "/app/old": false, "/app": true, "/tmp/x": false, "/app/../app/new": true} {
		if _, err := f.Stat(p); (err == nil) != there {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestExplain: each way in which a start fails has a sentence and an exit status.
func TestExplain(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	host := map[string]uint16{}
	for n, arch := range machines {
		host[arch] = n
	}
	elf := func(class, order byte, machine uint16) string {
		b := make([]byte, 64)
		copy(b, "\x7fELF")
		b[4], b[5], b[18], b[19] = class, order, byte(machine), byte(machine>>8)
		return string(b)
	}
	write("bin/sh", "#!/bin/sh\n", 0o755)
	write("bin/plain", "text", 0o644)
	write("bin/mine", "text", 0o700)
	write("closed/tool", "text", 0o755)
	write("bin/bare", "echo\n", 0o755)
	write("bin/empty", "", 0o755)
	write("bin/lost", "#! /no/such -x\n", 0o755)
	write("bin/crlf", "#!/bin/sh\r\n", 0o755)
	write("bin/todir", "#!/bin\n", 0o755)
	write("bin/other", elf(2, 1, 22), 0o755)
	write("bin/big", elf(2, 2, 0x1500), 0o755) // 21, in the other order
	write("bin/busy", elf(2, 1, host[runtime.GOARCH]), 0o755)
	write("vol/tool", "text", 0o755)
	_ = os.Symlink("loop", filepath.Join(dir, "bin/loop"))
	if err := os.Chmod(filepath.Join(dir, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	// All files belong to the tester: that is id 7 of the container.
	own := []configs.IDMap{{ContainerID: 7, HostID: int64(os.Getuid()), Size: 1}}
	groups := []configs.IDMap{{ContainerID: 7, HostID: int64(os.Getgid()), Size: 1}}
	for _, c := range []struct {
		name, dir string
		uid       int
		kind      errs.Kind // Internal: nothing is wrong
		want      string
	}{
		{"sh", "/", 7, errs.Internal, ""},
		{"/bin/sh", "/", 9, errs.Internal, ""},
		{"nosuch", "/", 7, errs.CommandMissing, `exec: "nosuch": executable file not found in $PATH`},
		{"plain", "/", 7, errs.CannotInvoke, `exec: "plain": permission denied`},
		{"/bin", "/", 7, errs.CannotInvoke, `exec: "/bin": is a directory`},
		{"/bin/sh/x", "/", 7, errs.CommandMissing, `exec: "/bin/sh/x": stat /bin/sh/x: no such file or directory`},
		{"/bin/loop", "/", 7, errs.CannotInvoke, `exec: "/bin/loop": too many levels of symbolic links`},
		{"/bin/mine", "/", 7, errs.Internal, ""},
		{"/bin/mine", "/", 9, errs.CannotInvoke, `exec: "/bin/mine": permission denied`},
		{"../closed/tool", "/bin", 9, errs.CannotInvoke, `exec: "../closed/tool": permission denied`},
		{"/closed/tool", "/", 0, errs.Internal, ""},
		{"/vol/tool", "/", 7, errs.CannotInvoke, `exec: "/vol/tool": permission denied`},
		{"sh", "/no/such", 7, errs.Invalid, `the working directory "/no/such" does not exist in the container`},
		{"sh", "/tmp/new", 7, errs.Internal, ""},
		{"sh", "/bin/sh", 7, errs.CannotInvoke, `the working directory "/bin/sh" is not a directory`},
		{"sh", "/closed", 9, errs.Internal, ""},
	} {
		a := Attempt{
			Finder: Finder{root, map[string]Place{"/vol": {Dir: filepath.Join(dir, "vol"), NoExec: true}, "/tmp": {}}},
			Name:   c.name, Path: "/sbin:/bin", Dir: c.dir, InDir: errs.Invalid,
			User: Identity{UID: c.uid, GID: c.uid}, Override: c.uid == 0, UIDs: own, GIDs: groups,
		}
		err := a.Explain()
		if c.kind == errs.Internal {
			if err != nil {
				t.Errorf("%s as %d in %s: %v", c.name, c.uid, c.dir, err)
			}
			continue
		}
		if err == nil || errs.KindOf(err) != c.kind || err.Error() != c.want {
			t.Errorf("%s as %d in %s: %v (%v), want %s", c.name, c.uid, c.dir, err, errs.KindOf(err), c.want)
		}
	}
	for name, want := range map[string]struct {
		kind errs.Kind
		text string
	}{
		"bare":  {errs.CannotInvoke, "neither a program of this machine nor a script"},
		"empty": {errs.CannotInvoke, "the file is empty"},
		"lost":  {errs.CommandMissing, "its interpreter /no/such does not exist"},
		"crlf":  {errs.CommandMissing, "carriage return"},
		"todir": {errs.CannotInvoke, `its interpreter cannot be run: exec: "/bin": is a directory`},
		"other": {errs.CannotInvoke, "it is made for s390x"},
		"busy":  {errs.CannotInvoke, "the reason that stands in the container's output"},
		"big":   {errs.CannotInvoke, "it is made for ppc64le"},
	} {
		a := Attempt{Finder: Finder{Root: root}, Name: name, Path: "/bin", Dir: "/", User: Identity{UID: 7, GID: 7}, UIDs: own, GIDs: groups}
		err := a.ExplainRefusal()
		if errs.KindOf(err) != want.kind || !strings.Contains(err.Error(), `cannot run "`+name+`": `) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v (%v)", name, err, errs.KindOf(err))
		}
	}
}

// FuzzRefusal: whatever a program's file begins with, it does not bring the monitor
// down, and there is something to say.
func FuzzRefusal(f *testing.F) {
	elf := func(at uint64, size, n uint16) []byte {
		b := make([]byte, 200)
		copy(b, "\x7fELF\x02\x01")
		for arch, name := range machines {
			if name == runtime.GOARCH {
				binary.LittleEndian.PutUint16(b[18:], arch)
			}
		}
		binary.LittleEndian.PutUint64(b[32:], at)
		binary.LittleEndian.PutUint16(b[54:], size)
		binary.LittleEndian.PutUint16(b[56:], n)
		b[64] = 3 // PT_INTERP at 64
		binary.LittleEndian.PutUint64(b[72:], 150)
		binary.LittleEndian.PutUint64(b[96:], 10)
		return b
	}
	f.Add(elf(64, 56, 1))
	f.Add(elf(math.MaxUint64, 56, 1)) // at+size wraps around
	f.Add(elf(math.MaxUint64-8, 0xffff, 0xffff))
	f.Add(elf(1<<63, 56, 3))
	f.Add([]byte("\x7fELF"))
	f.Add([]byte("#!"))
	f.Add([]byte("#!/bin/sh\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "p"), text, 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		a := Attempt{Finder: Finder{Root: root}, Name: "/p", Dir: "/", User: Identity{UID: os.Getuid()}, Override: true}
		if err := a.ExplainRefusal(); err == nil {
			t.Error("no reason")
		}
	})
}
