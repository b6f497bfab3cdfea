// SPDX-License-Identifier: Apache-2.0

package rootless

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/dirs"
)

func TestParseRelease(t *testing.T) {
	for release, want := range map[string][2]int{
		"6.12.117-cloud-amd64": {6, 12}, "5.4.0": {5, 4}, "6.1": {6, 1}, "4.18.0-553.el8.x86_64": {4, 18},
		"6.19-rc3": {6, 19}, "": {0, 0}, "x.y": {0, 0},
	} {
		if major, minor := parseRelease(release); major != want[0] || minor != want[1] {
			t.Errorf("%q: %d.%d, want %v", release, major, minor, want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for _, tc := range []struct{ name, out, want string }{
		{"slirp4netns", "slirp4netns version 1.2.0\ncommit: 656041d\nlibslirp: 4.7.0\n", "1.2.0"},
		{"pasta", "pasta 0.0~git20230309.7c7625d-1+deb12u1: unknown version\nCopyright\n", "0.0~git20230309.7c7625d-1+deb12u1: unknown version"},
		{"fuse-overlayfs", "fuse-overlayfs: version 1.10\nFUSE library version 3.14.0\n", "1.10"},
		{"slirp4netns", "", ""},
	} {
		if got := parseVersion(tc.name, tc.out); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestFilesystem(t *testing.T) {
	for magic, want := range map[uint64]Filesystem{
		0xef53: {"ext4", false}, 0x6969: {"nfs", true}, 0xff534d42: {"cifs", true}, 0xfe534d42: {"cifs", true},
		0x65735546: {"fuse", true}, 0x01021994: {"tmpfs", false}, 0x9123683e: {"btrfs", false}, 0x1234: {"0x1234", false},
	} {
		if got := filesystem(magic); got != want {
			t.Errorf("%#x: %v, want %v", magic, got, want)
		}
	}
}

func TestPreflightOnThisHost(t *testing.T) {
	f := NewFacts(dirs.Dirs{Data: t.TempDir(), Run: t.TempDir()})
	for _, c := range f.Preflight() {
		t.Logf("%-20s ok=%v needed=%v: %s | %s", c.What, c.OK, c.Needed, c.Why, c.Fix)
		if c.What == "" || c.Why == "" || (!c.OK && c.Fix == "") {
			t.Errorf("incomplete: %+v", c)
		}
	}
}

func TestOverlayProbeIsRemembered(t *testing.T) {
	d := dirs.Dirs{Data: t.TempDir(), Run: t.TempDir()}
	if err := NewFacts(d).NativeOverlay(); err != nil {
		t.Skipf("no native overlay here: %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.Run, "overlay-probe")); err != nil {
		t.Fatal(err)
	}
	// Read-only now: a second probe could not make its directory. (Root may
	// write everywhere, and proves nothing.)
	if err := unix.Chmod(d.Data, 0o500); err != nil {
		t.Fatal(err)
	}
	defer unix.Chmod(d.Data, 0o700)
	if err := NewFacts(d).NativeOverlay(); err != nil {
		t.Errorf("tried again: %v", err)
	}
}
