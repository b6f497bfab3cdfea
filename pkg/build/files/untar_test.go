// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

// A sparse file of a few bytes must not fill the disk.
func TestSparseBomb(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "hole"))
	if err != nil {
		t.Fatal(err)
	}
	err = f.Truncate(maxTarBytes + 1)
	f.Close()
	if err != nil {
		t.Skip(err)
	}
	data, err := exec.Command("tar", "-C", dir, "-S", "-c", "hole").Output()
	if err != nil || len(data) > 1<<20 {
		t.Skip("no tar that knows sparse files:", err)
	}
	r, err := OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Extract(r, "/", bytes.NewReader(data), ExtractOptions{}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}
