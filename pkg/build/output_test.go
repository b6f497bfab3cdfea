// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/files"
)

// An archive that cannot be written to its end leaves the one of before, and
// nothing beside it; one that can replaces the target of a link, not the link.
func TestExportTarWhole(t *testing.T) {
	src, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "f"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := files.OpenRoot(src)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w := &files.Walker{Root: root}
	if err := w.Add("", ""); err != nil {
		t.Fatal(err)
	}
	dest, link := filepath.Join(out, "real.tar"), filepath.Join(out, "link.tar")
	if err := os.WriteFile(dest, []byte("the one of before"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.tar", link); err != nil {
		t.Fatal(err)
	}
	gone := files.Entry{Path: "gone", Rel: "gone", Stat: unix.Stat_t{Mode: unix.S_IFREG, Size: 1}}
	b := &session{}
	broken := &files.Walker{Root: root, Entries: append(w.Entries[:len(w.Entries):len(w.Entries)], gone)}
	if err := b.exportTar(Export{Kind: "tar", Dest: link}, []*files.Walker{broken}); err == nil {
		t.Fatal("a file that is not there was written")
	}
	if text, err := os.ReadFile(dest); string(text) != "the one of before" {
		t.Fatalf("of the archive of before are left %d bytes, %v", len(text), err)
	}
	if err := b.exportTar(Export{Kind: "tar", Dest: link}, []*files.Walker{w}); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(dest); err != nil || fi.Size() < 1024 || fi.Mode() != 0o640 {
		t.Fatalf("the archive is %v, %v", fi, err)
	}
	if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Fatalf("the link is %v, %v", fi, err)
	}
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	fresh := filepath.Join(t.TempDir(), "new.tar")
	if err := b.exportTar(Export{Kind: "tar", Dest: fresh}, []*files.Walker{w}); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(fresh); err != nil || fi.Mode() != 0o640 {
		t.Fatalf("with umask 027 the archive is %v, %v", fi, err)
	}
	if left, _ := os.ReadDir(out); len(left) != 2 {
		t.Fatalf("left behind: %v", left)
	}
}

// longIDs gives images ids as long as real ones.
type longIDs struct{ *dirEngine }

func (e longIDs) CreateImage(ctx context.Context, s ImageSpec) (string, []string, error) {
	_, names, err := e.dirEngine.CreateImage(ctx, s)
	return strings.Repeat("0", 64), names, err
}

// What a failed step leaves is an image like any other, and can be pushed: the
// host's proxies, which may have a password, are not in it.
func TestKeptImageHasNoProxy(t *testing.T) {
	e := longIDs{newDirEngine(t)}
	e.run = func(RunStep, string) int { return 1 }
	_, _, err := buildIt(t, e, "FROM base\nARG KEPT=yes\nRUN false\n", nil, func(o *Options) {
		o.KeepFailed, o.PassProxy = true, true
		o.Getenv = func(name string) (string, bool) { return "http://user:secret@proxy", name == "https_proxy" }
	})
	if err == nil || len(e.imgs) != 1 {
		t.Fatalf("images %d, %v", len(e.imgs), err)
	}
	passed := false
	for _, kv := range e.runs[0].Container.Process.Env {
		passed = passed || kv == "https_proxy=http://user:secret@proxy"
	}
	kept := false
	for _, kv := range e.imgs[0].Config.Config.Env {
		if kv == "https_proxy=http://user:secret@proxy" {
			t.Error("the kept image has " + kv)
		}
		kept = kept || kv == "KEPT=yes"
	}
	if !passed || !kept {
		t.Errorf("the step had the proxy: %v, the image has the ARG: %v", passed, kept)
	}
}
