// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/hello"
)

func dockerArchive(t *testing.T, img v1.Image, names ...string) []byte {
	t.Helper()
	m := map[name.Tag]v1.Image{}
	for _, n := range names {
		tag, err := name.NewTag(n)
		if err != nil {
			t.Fatal(err)
		}
		m[tag] = img
	}
	var b bytes.Buffer
	if err := tarball.MultiWrite(m, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zst(t *testing.T, b []byte) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func TestLoad(t *testing.T) {
	img := imageOf(t, alpine(t)...)
	archive := dockerArchive(t, img, "alpine:latest", "org/x:1")
	id, _ := img.ConfigName()
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "docker.io/library/alpine:latest"})); err != nil {
		t.Fatal(err)
	}
	oci, err := exec.Command("tar", "-C", dir, "-cf", "-", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	plainFile := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(plainFile, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	both := []string{"alpine:latest", "org/x:1"}
	one := []string{"alpine:latest"}
	for what, c := range map[string]struct {
		o     LoadOptions
		names []string
	}{
		"docker-archive from a file":   {LoadOptions{Path: plainFile}, both},
		"docker-archive from a stream": {LoadOptions{Input: bytes.NewReader(archive)}, both},
		"docker-archive gzip":          {LoadOptions{Input: bytes.NewReader(gz(archive))}, both},
		"docker-archive zstd":          {LoadOptions{Input: bytes.NewReader(zst(t, archive))}, both},
		"oci-archive":                  {LoadOptions{Input: bytes.NewReader(oci)}, one},
		"oci-archive gzip":             {LoadOptions{Input: bytes.NewReader(gz(oci))}, one},
		"oci directory":                {LoadOptions{Path: dir}, one},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStore(t, "")
			got, err := s.Load(context.Background(), c.o)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got[0].ID != id.Hex {
				t.Fatalf("loaded %v", got)
			}
			slices.Sort(got[0].Names)
			if !reflect.DeepEqual(got[0].Names, c.names) {
				t.Errorf("names %v", got[0].Names)
			}
			for _, n := range c.names {
				i, err := s.Resolve(n)
				if err != nil {
					t.Fatal(err)
				}
				checkAlpine(t, s, i)
			}
		})
	}
}

func TestLoadRefusesOtherFiles(t *testing.T) {
	s := newStore(t, "")
	for what, data := range map[string][]byte{
		"nothing": nil, "text": []byte(strings.Repeat("not a tar\n", 1000)), "another tar": tarOf(t, file("x", "y")),
		"a cut archive": dockerArchive(t, imageOf(t, alpine(t)...), "a:b")[:3000],
	} {
		if got, err := s.Load(context.Background(), LoadOptions{Input: bytes.NewReader(data)}); err == nil {
			t.Errorf("%s: loaded %v", what, got)
		} else if k := errs.KindOf(err); k != errs.Invalid && k != errs.Corrupt {
			t.Errorf("%s: %v (%v)", what, err, k)
		}
	}
	if _, err := s.Load(context.Background(), LoadOptions{Path: "/nonexistent.tar"}); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	noLeftovers(t, s)
}

func TestImport(t *testing.T) {
	s := newStore(t, "")
	img, err := s.Import(context.Background(), ImportOptions{
		Input: bytes.NewReader(gz(alpine(t)[0])), Name: "my/tree", Message: "made by hand",
		Changes: []string{`CMD ["/bin/sh","-c","echo hi"]`, "ENV A=b C=$A", "EXPOSE 80 53/udp", "LABEL x=y", "USER 7:8", "WORKDIR /srv", "VOLUME /data", "ENTRYPOINT top -b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := img.Config
	if !reflect.DeepEqual(c.Cmd, []string{"/bin/sh", "-c", "echo hi"}) || !reflect.DeepEqual(c.ExposedPorts, []string{"53/udp", "80/tcp"}) ||
		c.User != "7:8" || c.WorkingDir != "/srv" || c.Labels["x"] != "y" || !slices.Contains(c.Env, "A=b") ||
		!reflect.DeepEqual(c.Volumes, []string{"/data"}) || !reflect.DeepEqual(c.Entrypoint, []string{"/bin/sh", "-c", "top -b"}) {
		t.Errorf("%+v", c)
	}
	if img.Comment != "made by hand" || !reflect.DeepEqual(img.Names, []string{"docker.io/my/tree:latest"}) {
		t.Errorf("%+v", img)
	}
	if _, err := s.Import(context.Background(), ImportOptions{Input: bytes.NewReader(nil), Changes: []string{"RUN x"}}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

func TestTagRemovePrune(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, "")
	img := imageOf(t, alpine(t)...)
	if _, err := s.Load(ctx, LoadOptions{Input: bytes.NewReader(dockerArchive(t, img, "alpine:latest"))}); err != nil {
		t.Fatal(err)
	}
	id, _ := img.ConfigName()
	if err := s.Tag(ctx, "alpine", "other/name:1.0"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove(ctx, id.Hex[:12], RemoveOptions{}); !errs.Is(err, errs.InUse) {
		t.Errorf("an id with several names: %v", err)
	}
	r, err := s.Remove(ctx, "alpine", RemoveOptions{})
	if err != nil || !reflect.DeepEqual(r.Lines(), []string{"Untagged: alpine:latest"}) {
		t.Errorf("%v %v", r, err)
	}
	busy := func(string) string { return "container abc is using it" }
	if _, err := s.Remove(ctx, "other/name:1.0", RemoveOptions{InUse: busy}); !errs.Is(err, errs.InUse) {
		t.Error(err)
	}
	r, err = s.Remove(ctx, "other/name:1.0", RemoveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := chainIDs([]string{mustDiffID(t, img, 0), mustDiffID(t, img, 1)})
	want := []string{"Untagged: other/name:1.0", "Deleted: " + id.String(), "Deleted: " + d[1], "Deleted: " + d[0]}
	if !reflect.DeepEqual(r.Lines(), want) {
		t.Errorf("got %v want %v", r.Lines(), want)
	}
	noLeftovers(t, s)
	if _, err := s.Remove(ctx, "alpine", RemoveOptions{}); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	// Two images; the second takes the first one's name.
	for _, i := range []v1.Image{img, imageOf(t, alpine(t)[0])} {
		if _, err := s.Load(ctx, LoadOptions{Input: bytes.NewReader(dockerArchive(t, i, "alpine:latest"))}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err = s.Prune(ctx, PruneOptions{}); err != nil || len(r.Deleted) != 2 || r.Deleted[0] != id.String() {
		t.Errorf("%v %v", r, err)
	}
	if _, err := s.Resolve("alpine"); err != nil {
		t.Error(err)
	}
	if _, err = s.Prune(ctx, PruneOptions{All: true}); err != nil {
		t.Error(err)
	}
	noLeftovers(t, s)
}

func mustDiffID(t *testing.T, img v1.Image, n int) string {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c.RootFS.DiffIDs[n].String()
}

func TestBuiltin(t *testing.T) {
	s := newStore(t, "")
	img, err := s.Pull(context.Background(), "hello", PullOptions{Policy: "missing"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Resolve("hello")
	if err != nil || again.ID != img.ID || !reflect.DeepEqual(again.Names, []string{"localhost/hello:latest"}) {
		t.Fatalf("%v %v", again, err)
	}
	out, err := exec.Command(filepath.Join(s.Home(), img.Lowers[0], "hello")).Output()
	if err != nil || string(out) != hello.Text {
		t.Errorf("%v %q", err, out)
	}
	// A real image of that name comes first.
	if err := s.Tag(context.Background(), "hello", "docker.io/library/hello:latest"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Untag(context.Background(), "localhost/hello", "localhost/hello"); err != nil {
		t.Fatal(err)
	}
	if i, err := s.Resolve("hello"); err != nil || i.ID != img.ID {
		t.Error(i, err)
	}
}
