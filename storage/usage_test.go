// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestUsageTreeCheck(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, "")
	img := loadAlpine(t, s)
	one := imageOf(t, alpine(t)[0])
	if _, err := s.Load(ctx, LoadOptions{Input: bytes.NewReader(dockerArchive(t, one, "one:1"))}); err != nil {
		t.Fatal(err)
	}
	_, tree, err := s.Tree("alpine")
	if err != nil || len(tree) != 2 || len(tree[0].Names) != 1 || tree[0].Names[0] != "one:1" || tree[1].Names[0] != "alpine:latest" {
		t.Errorf("%v %v", tree, err)
	}
	u, err := s.Usage(nil)
	if err != nil || u.Size != img.Size || u.Images[img.ID].Shared != tree[0].Size || u.Images[img.ID].Unique != tree[1].Size || u.BuildLayers != 0 {
		t.Errorf("%+v %v", u, err)
	}
	if f, err := s.Check(ctx, CheckOptions{}, nil); err != nil || len(f) != 0 {
		t.Errorf("%v %v", f, err)
	}
	victim := filepath.Join(s.Home(), img.Lowers[0], "etc/motd")
	if err := os.WriteFile(victim, []byte("hacked"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := s.Check(ctx, CheckOptions{}, nil)
	if err != nil || len(f) != 1 || f[0].Image != img.ID || f[0].Name != "alpine:latest" || f[0].Repaired {
		t.Errorf("%v %v", f, err)
	}
	if f, err = s.Check(ctx, CheckOptions{Repair: true}, nil); err != nil || len(f) != 1 || !f[0].Repaired {
		t.Errorf("%v %v", f, err)
	}
	if _, err := s.Resolve("alpine"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if _, err := s.Resolve("one:1"); err != nil {
		t.Error(err)
	}
}
