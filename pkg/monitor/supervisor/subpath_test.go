// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
)

// The "container" is this very process, with its own root directory.
func TestSubpathExchanged(t *testing.T) {
	vol, secret := t.TempDir(), t.TempDir()
	sub := filepath.Join(vol, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	find := func(target string) []subpath {
		found, err := findSubpaths([]monitor.VolumeMount{{HostPath: vol, Target: "/x"}, {HostPath: vol, Subpath: "sub", Target: target}})
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		return found
	}
	want := find(sub)
	if err := checkSubpaths(os.Getpid(), want); err != nil {
		t.Error(err)
	}
	if err := os.Rename(sub, sub+"2"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, sub); err != nil {
		t.Fatal(err)
	}
	if err := checkSubpaths(os.Getpid(), want); !errs.Is(err, errs.State) {
		t.Error("a link to elsewhere was taken for the directory:", err)
	}
	if found, err := findSubpaths([]monitor.VolumeMount{{HostPath: vol, Subpath: "sub", Target: sub}}); err == nil {
		t.Errorf("a link out of the volume was followed: %v", found)
	}
}
