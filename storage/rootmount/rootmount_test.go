// SPDX-License-Identifier: Apache-2.0

package rootmount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/spec"
)

const inside = "PROA_TEST_MOUNTS"

// TestMain runs the tests in a mount namespace of their own, without root's
// rights in a user namespace too.
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
	if os.Geteuid() != 0 {
		c.Env = append(c.Env, fmt.Sprintf("_CONTAINERS_ROOTLESS_UID=%d", os.Geteuid()))
	}
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "the tests in a mount namespace:", err)
		os.Exit(1)
	}
}

// rootfs has n layers with short names, each with a file of its own and one that
// the next one covers.
func rootfs(t *testing.T, n int) spec.Rootfs {
	t.Helper()
	// Overlay does not stand on overlay, which a temporary directory may be on.
	tmp := t.TempDir()
	if err := unix.Mount("tmpfs", tmp, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(tmp, unix.MNT_DETACH) })
	r := spec.Rootfs{Driver: "overlay", Home: filepath.Join(tmp, "overlay"), Upper: filepath.Join(tmp, "upper"), Work: filepath.Join(tmp, "work")}
	must(t, os.MkdirAll(filepath.Join(r.Home, "l"), 0o700))
	must(t, errors.Join(os.Mkdir(r.Upper, 0o755), os.Mkdir(r.Work, 0o700)))
	for i := range n {
		id, short := fmt.Sprintf("layer%d", i), fmt.Sprintf("A-SHORT-NAME-OF-SOME-LENGTH-%d", i)
		diff := filepath.Join(r.Home, id, "diff")
		must(t, os.MkdirAll(diff, 0o755))
		must(t, os.WriteFile(filepath.Join(r.Home, id, "link"), []byte(short), 0o600))
		must(t, os.Symlink(filepath.Join("..", id, "diff"), filepath.Join(r.Home, "l", short)))
		must(t, os.WriteFile(filepath.Join(diff, id), nil, 0o600))
		must(t, os.WriteFile(filepath.Join(diff, "top"), []byte(id), 0o600))
		r.Lowers = slices.Insert(r.Lowers, 0, "l/"+short)
	}
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shown mounts r, and returns what is in it and whether it can be written.
func shown(t *testing.T, r spec.Rootfs, writable bool) (names []string, top string, wrote error) {
	t.Helper()
	dir := t.TempDir()
	must(t, View(r, dir, writable))
	ents, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range ents {
		names = append(names, e.Name())
	}
	text, _ := os.ReadFile(filepath.Join(dir, "top"))
	wrote = os.WriteFile(filepath.Join(dir, "written"), nil, 0o600)
	must(t, Unmount(dir, r.Driver))
	if left, err := Below(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
	return names, string(text), wrote
}

func TestView(t *testing.T) {
	r := rootfs(t, 3)
	names, top, wrote := shown(t, r, false)
	if !reflect.DeepEqual(names, []string{"layer0", "layer1", "layer2", "top"}) || top != "layer2" || !errors.Is(wrote, unix.EROFS) {
		t.Errorf("read-only: %v %q %v", names, top, wrote)
	}
	if _, _, wrote := shown(t, r, true); wrote != nil {
		t.Error("writable:", wrote)
	}
	if _, err := os.Stat(filepath.Join(r.Upper, "written")); err != nil {
		t.Error("it is written to the upper directory:", err)
	}
	// The container's own files are part of a view.
	if names, _, wrote = shown(t, r, false); !slices.Contains(names, "written") || !errors.Is(wrote, unix.EROFS) {
		t.Errorf("%v %v", names, wrote)
	}
	r.Lowers = nil // an image without layers
	if names, _, wrote = shown(t, r, false); !reflect.DeepEqual(names, []string{"written"}) || !errors.Is(wrote, unix.EROFS) {
		t.Errorf("%v %v", names, wrote)
	}
	if _, _, wrote = shown(t, r, true); wrote != nil {
		t.Error(wrote)
	}
}

func TestOneLayer(t *testing.T) {
	r := rootfs(t, 1)
	r.Upper, r.Work = "", ""
	before := slices.Clone(r.Lowers)
	names, _, wrote := shown(t, r, false)
	if !reflect.DeepEqual(names, []string{"layer0", "top"}) || !errors.Is(wrote, unix.EROFS) {
		t.Errorf("%v %v", names, wrote)
	}
	if !reflect.DeepEqual(r.Lowers, before) {
		t.Error("the caller's layers were changed:", r.Lowers)
	}
}

// More than one page of options.
func TestManyLayers(t *testing.T) {
	r := rootfs(t, 120)
	names, top, _ := shown(t, r, true)
	if len(names) != 121 || top != "layer119" {
		t.Error(len(names), top)
	}
}

func TestDirectory(t *testing.T) {
	r := spec.Rootfs{Driver: "vfs", Dir: t.TempDir()}
	must(t, os.WriteFile(filepath.Join(r.Dir, "top"), []byte("copy"), 0o600))
	if _, top, wrote := shown(t, r, false); top != "copy" || !errors.Is(wrote, unix.EROFS) {
		t.Error(top, wrote)
	}
	if _, _, wrote := shown(t, r, true); wrote != nil {
		t.Error(wrote)
	}
}

func TestMend(t *testing.T) {
	r := rootfs(t, 2)
	must(t, os.RemoveAll(filepath.Join(r.Home, "l")))
	must(t, os.MkdirAll(filepath.Join(r.Home, "unfinished"), 0o700))
	must(t, os.WriteFile(filepath.Join(r.Home, "unfinished", "link"), nil, 0o600))
	if names, _, _ := shown(t, r, false); len(names) != 3 {
		t.Error(names)
	}
	if links, err := os.ReadDir(filepath.Join(r.Home, "l")); err != nil || len(links) != 2 {
		t.Error(links, err)
	}
	r.Lowers = append(r.Lowers, "l/NOBODYS")
	if err := View(r, t.TempDir(), false); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

func TestEmptyAndBelow(t *testing.T) {
	dir := t.TempDir()
	beside := dir + "-beside"
	must(t, errors.Join(os.Mkdir(beside, 0o700), os.Mkdir(filepath.Join(dir, "in"), 0o700)))
	for _, d := range []string{filepath.Join(dir, "in"), beside} {
		must(t, Empty(d))
		defer func() { must(t, Unmount(d, "overlay")) }()
	}
	if got, err := Below(dir); err != nil || !reflect.DeepEqual(got, []string{filepath.Join(dir, "in")}) {
		t.Error(got, err)
	}
	if err := os.WriteFile(filepath.Join(beside, "x"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Error(err)
	}
	if err := Unmount(filepath.Join(dir, "none"), "overlay"); err == nil {
		t.Error("unmounted what is not there")
	}
}
