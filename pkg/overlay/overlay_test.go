// SPDX-License-Identifier: Apache-2.0

package overlay

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const inside = "PROA_TEST_MOUNTS"

// TestMain runs the tests in a mount namespace of their own: of the host's root
// as it is, of anybody else in a user namespace.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	args := []string{"--mount", "--propagation", "private"}
	if os.Geteuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	c := exec.Command("unshare", append(append(args, os.Args[0]), os.Args[1:]...)...)
	c.Env = append(os.Environ(), inside+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "the tests in a mount namespace:", err)
		os.Exit(1)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// layers makes n layers below a directory whose name no option string takes as
// it is. Each has the file "top", and hides "dir" of those below.
func layers(t *testing.T, n int) Mount {
	t.Helper()
	return layersIn(t, n, `with,comma:colon\backslash"quote =`+strings.Repeat("x", 200))
}

func layersIn(t *testing.T, n int, name string) Mount {
	t.Helper()
	tmp := t.TempDir()
	must(t, unix.Mount("tmpfs", tmp, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(tmp, unix.MNT_DETACH) })
	base := filepath.Join(tmp, name, strings.Repeat("y", 60))
	m := Mount{Home: filepath.Join(base, "home"), Upper: filepath.Join(base, "upper"), Work: filepath.Join(base, "work")}
	must(t, errors.Join(os.MkdirAll(m.Upper, 0o755), os.MkdirAll(m.Work, 0o755)))
	for i := range n {
		name := fmt.Sprintf("l/LAYER-OF-SOME-LENGTH-%d", i)
		dir := filepath.Join(m.Home, name, "dir")
		must(t, os.MkdirAll(dir, 0o755))
		must(t, unix.Setxattr(dir, OpaqueXattr(), []byte("y"), 0))
		must(t, os.WriteFile(filepath.Join(m.Home, name, "top"), []byte(fmt.Sprint(i)), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("of", i)), nil, 0o600))
		m.Lowers = slices.Insert(m.Lowers, 0, name)
	}
	return m
}

func look(t *testing.T, dir string, n int, writable bool) {
	t.Helper()
	top, err := os.ReadFile(filepath.Join(dir, "top"))
	if err != nil || string(top) != fmt.Sprint(n-1) {
		t.Errorf("top is of layer %q, %v", top, err)
	}
	ents, err := os.ReadDir(filepath.Join(dir, "dir"))
	if err != nil || len(ents) != 1 || ents[0].Name() != fmt.Sprint("of", n-1) {
		t.Errorf("an opaque directory has %v, %v", ents, err)
	}
	err = os.WriteFile(filepath.Join(dir, "new"), nil, 0o600)
	if writable != (err == nil) || !writable && !errors.Is(err, unix.EROFS) {
		t.Error("write:", err)
	}
	must(t, unix.Unmount(dir, 0))
}

func TestKernel(t *testing.T) {
	for _, n := range []int{1, 3, 150} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			m, dir := layers(t, n), t.TempDir()
			must(t, m.Kernel(dir))
			look(t, dir, n, true)
			if _, err := os.Stat(filepath.Join(m.Upper, "new")); err != nil {
				t.Error("it is written to the upper directory:", err)
			}
			m.Volatile = true
			must(t, m.Kernel(dir))
			look(t, dir, n, true)
			must(t, os.Remove(filepath.Join(m.Upper, "new")))
			// An upper directory as one more lower one, by its absolute path.
			m.Lowers, m.Upper, m.Work = slices.Insert(m.Lowers, 0, m.Upper), "", ""
			must(t, m.Kernel(dir))
			look(t, dir, n, false)
			m.Lowers = m.Lowers[1:2]
			must(t, m.Kernel(dir))
			look(t, dir, n, false)
		})
	}
	if err := (Mount{}).Kernel(t.TempDir()); err == nil {
		t.Error("mounted nothing")
	}
	m := layers(t, 2)
	m.Lowers = append(m.Lowers, "l/NONE")
	if err := m.Kernel(t.TempDir()); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

// What a container deletes and makes again in a directory is not mixed with
// what layers have there, and it is readable as such.
func TestMadeAgain(t *testing.T) {
	m, dir := layers(t, 2), t.TempDir()
	must(t, m.Kernel(dir))
	must(t, errors.Join(os.RemoveAll(filepath.Join(dir, "dir")), os.Mkdir(filepath.Join(dir, "dir"), 0o755)))
	must(t, os.Remove(filepath.Join(dir, "top")))
	must(t, unix.Unmount(dir, 0))
	must(t, m.Kernel(dir))
	if ents, err := os.ReadDir(filepath.Join(dir, "dir")); err != nil || len(ents) != 0 {
		t.Error(ents, err)
	}
	must(t, unix.Unmount(dir, 0))
	f, err := os.Open(filepath.Join(m.Upper, "dir"))
	must(t, err)
	defer f.Close()
	if !HasOpaque(int(f.Fd()), false) {
		t.Error("the directory has no mark")
	}
	var st unix.Stat_t
	must(t, unix.Lstat(filepath.Join(m.Upper, "top"), &st))
	if mark, name := MarkOf("top", &st, false); mark != Whiteout || name != "top" {
		t.Error(mark, name)
	}
}

func TestFuse(t *testing.T) {
	program, err := exec.LookPath("fuse-overlayfs")
	if err == nil {
		err = unix.Access("/dev/fuse", unix.R_OK|unix.W_OK)
	}
	if err != nil {
		t.Skip("no fuse-overlayfs here:", err)
	}
	if _, _, err := layers(t, 1).Fuse(program, t.TempDir(), false); err == nil || !strings.Contains(err.Error(), `":"`) {
		t.Error("a colon:", err)
	}
	m, dir := layersIn(t, 3, `with,comma\backslash"quote =`), t.TempDir()
	cmd, started, err := m.Fuse(program, dir, false)
	must(t, err)
	out, err := cmd.CombinedOutput()
	started()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, errors.Join(os.RemoveAll(filepath.Join(dir, "dir")), os.Mkdir(filepath.Join(dir, "dir"), 0o755)))
	must(t, os.WriteFile(filepath.Join(dir, "dir", "of2"), nil, 0o600))
	look(t, dir, 3, true)
	f, err := os.Open(filepath.Join(m.Upper, "dir"))
	must(t, err)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	must(t, err)
	for _, n := range names {
		if mark, _ := MarkName(n); (mark == None) != (n == "of2") {
			t.Errorf("%s: %v", n, mark)
		}
	}
}

func TestMarks(t *testing.T) {
	file, device := &unix.Stat_t{Mode: unix.S_IFREG}, &unix.Stat_t{Mode: unix.S_IFCHR}
	for _, c := range []struct {
		base string
		st   *unix.Stat_t
		fuse bool
		mark Mark
		name string
	}{
		{"a", file, true, None, ""},
		{"a", device, true, Whiteout, "a"},
		{"a", device, false, Whiteout, "a"},
		{"null", &unix.Stat_t{Mode: unix.S_IFCHR, Rdev: unix.Mkdev(1, 3)}, true, None, ""},
		{".wh.a", file, true, Whiteout, "a"},
		{".wh.a", file, false, None, ""},
		{".wh..a", file, true, Whiteout, ".a"},
		{".wh..wh..opq", file, true, Opaque, ""},
		{".wh..opq", device, true, Opaque, ""},
		{".wh..wh.aufs", file, true, Internal, ""},
		{".wh.", file, true, Internal, ""},
		{".wh...", file, true, Internal, ""},
	} {
		if m, name := MarkOf(c.base, c.st, c.fuse); m != c.mark || name != c.name {
			t.Errorf("%s, fuse %v: %v %q", c.base, c.fuse, m, name)
		}
	}
	for attr, want := range map[string]bool{
		"user.overlay.redirect": true, "trusted.overlay.opaque": true, "user.fuseoverlayfs.origin": true,
		"user.containers.override_stat": true, "user.note": false, "security.capability": false,
	} {
		if IsNote(attr) != want {
			t.Error(attr)
		}
	}
}
