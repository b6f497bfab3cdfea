// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/rootmount"
)

func TestPush(t *testing.T) {
	srv := newRegistry(t)
	s := newStore(t, hostOf(srv))
	ctx := context.Background()
	img := loadAlpine(t, s)
	target := hostOf(srv) + "/me/alpine:1.0"
	if err := s.Tag(ctx, "alpine", target); err != nil {
		t.Fatal(err)
	}
	var out lines
	got, err := s.Push(ctx, target, PushOptions{Progress: out.progress()})
	if err != nil {
		t.Fatal(err)
	}
	text := out.b.String()
	if !strings.HasPrefix(text, "The push refers to repository ["+hostOf(srv)+"/me/alpine]\n") || strings.Count(text, ": Pushed\n") != 2 ||
		!strings.HasSuffix(text, fmt.Sprintf("1.0: digest: %s size: %d\n", got[0].Digest, got[0].Size)) {
		t.Errorf("%s", text)
	}
	r, _ := name.ParseReference(target, name.Insecure)
	d, err := remote.Head(r)
	if err != nil || d.Digest.String() != got[0].Digest.String() || d.Size != int64(got[0].Size) {
		t.Errorf("%v %v", d, err)
	}
	var again lines
	if _, err := s.Push(ctx, target, PushOptions{Progress: again.progress()}); err != nil {
		t.Fatal(err)
	}
	if strings.Count(again.b.String(), ": Layer already exists\n") != 2 {
		t.Errorf("%s", again.b.String())
	}
	// What was pushed can be pulled, and is the same image.
	other := newStore(t, hostOf(srv))
	p, err := other.Pull(ctx, target, PullOptions{})
	if err != nil || p.ID != img.ID {
		t.Errorf("%v %v", p, err)
	}
	byDigest := hostOf(srv) + "/me/alpine@" + got[0].Digest.String()
	if i, err := s.Resolve(byDigest); err != nil || i.ID != img.ID {
		t.Errorf("%v", err)
	}
	if _, err := s.Push(ctx, "nosuch", PushOptions{}); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	dir := filepath.Join(t.TempDir(), "layout")
	if _, err := s.Push(ctx, "alpine", PushOptions{Destination: "oci:" + dir + ":x"}); err != nil {
		t.Error(err)
	}
}

func TestPushOfAPulledImageSendsNothing(t *testing.T) {
	// The registry of the test keeps one set of blobs for all repositories, but
	// knows no mounting.
	srv := front(t, newRegistry(t), func(w http.ResponseWriter, r *http.Request) bool {
		d := r.URL.Query().Get("mount")
		if d == "" || r.Method != http.MethodPost {
			return false
		}
		w.Header().Set("Docker-Content-Digest", d)
		w.Header().Set("Location", strings.Replace(r.URL.Path, "uploads/", d, 1))
		w.WriteHeader(http.StatusCreated)
		return true
	})
	host := hostOf(srv)
	s := newStore(t, host)
	ctx := context.Background()
	img := imageOf(t, alpine(t)...)
	push(t, host, "library/alpine:latest", img)
	if _, err := s.Pull(ctx, host+"/library/alpine", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(ctx, host+"/library/alpine", host+"/me/alpine:1.0"); err != nil {
		t.Fatal(err)
	}
	var out lines
	got, err := s.Push(ctx, host+"/me/alpine:1.0", PushOptions{Progress: out.progress()})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := img.Digest()
	if got[0].Digest.String() != d.String() {
		t.Errorf("digest %s became %s", d, got[0].Digest)
	}
	if strings.Count(out.b.String(), ": Mounted from library/alpine\n") != 2 {
		t.Errorf("%s", out.b.String())
	}
}

func TestSaveAndLoad(t *testing.T) {
	ctx := context.Background()
	for _, format := range []string{"docker-archive", "oci-archive", "oci-dir", "docker-dir"} {
		t.Run(format, func(t *testing.T) {
			s := newStore(t, "")
			img := loadAlpine(t, s)
			refs := []string{"alpine"}
			if !strings.HasSuffix(format, "r-dir") {
				if err := s.Tag(ctx, "alpine", "two:2"); err != nil {
					t.Fatal(err)
				}
				hello, err := s.Pull(ctx, "hello", PullOptions{})
				if err != nil {
					t.Fatal(err)
				}
				refs = append(refs, "two:2", hello.ID)
			}
			path := filepath.Join(t.TempDir(), "out")
			if err := s.Save(ctx, refs, SaveOptions{Format: format, Path: path}); err != nil {
				t.Fatal(err)
			}
			other := newStore(t, "")
			if format == "docker-dir" {
				p, err := other.Pull(ctx, "dir:"+path, PullOptions{})
				if err != nil || p.ID != img.ID {
					t.Errorf("%v %v", p, err)
				}
				return
			}
			got, err := other.Load(ctx, LoadOptions{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 2 || got[0].ID != img.ID && format == "docker-archive" || !reflect.DeepEqual(got[0].Names, []string{"alpine:latest", "two:2"}) || len(got[1].Names) != 0 {
				t.Errorf("%v", got)
			}
			i, err := other.Resolve("two:2")
			if err != nil {
				t.Fatal(err)
			}
			checkAlpine(t, other, i)
		})
	}
}

type brokenWriter struct{ n int }

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.n += len(p); b.n > 1000 {
		return 0, errors.New("the pipe is gone")
	}
	return len(p), nil
}

func TestSaveToWriter(t *testing.T) {
	s := newStore(t, "")
	loadAlpine(t, s)
	ctx := context.Background()
	var b bytes.Buffer
	if err := s.Save(ctx, []string{"alpine"}, SaveOptions{Output: &b}); err != nil {
		t.Fatal(err)
	}
	other := newStore(t, "")
	if _, err := other.Load(ctx, LoadOptions{Input: &b}); err != nil {
		t.Error(err)
	}
	if err := s.Save(ctx, []string{"alpine"}, SaveOptions{Output: &brokenWriter{}}); err == nil {
		t.Error("a broken pipe went unnoticed")
	}
}

func TestCommitAContainer(t *testing.T) {
	s := newStore(t, "")
	img := loadAlpine(t, s)
	ctx := context.Background()
	dir := t.TempDir()
	r, err := s.Rootfs(img, dir)
	if err != nil {
		t.Fatal(err)
	}
	merged := filepath.Join(dir, "merged")
	if err := os.Mkdir(merged, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := rootmount.Overlay(r, merged); err != nil {
		t.Fatal(err)
	}
	change(t, merged)
	got, err := s.Commit(ctx, CommitOptions{Image: img.ID, Upper: r.Upper, Name: "my-alpine", Command: "/bin/sh", Author: "me", Message: "m", Changes: []string{"CMD ls"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := rootmount.Unmount(merged, "overlay"); err != nil {
		t.Fatal(err)
	}
	h := got.History[len(got.History)-1]
	if got.Parent != img.ID || h.CreatedBy != "/bin/sh" || h.Size == 0 || h.Comment != "m" || got.Author != "me" ||
		!reflect.DeepEqual(got.Config.Cmd, []string{"/bin/sh", "-c", "ls"}) || !reflect.DeepEqual(got.Config.Env, img.Config.Env) {
		t.Errorf("%+v", got)
	}
	checkArchive(t, s, s.TopLayer(got))
	d, release, err := s.MountLayer(ctx, s.TopLayer(got))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if b, err := os.ReadFile(filepath.Join(d, "other")); err != nil || string(b) != "new" {
		t.Error(b, err)
	}
	if _, err := os.Stat(filepath.Join(d, "bin/busybox")); !os.IsNotExist(err) {
		t.Error(err)
	}
}
