// SPDX-License-Identifier: Apache-2.0

package ocidir

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/blob"
)

// directory is an OCI directory with nothing in it yet.
func directory(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "oci-layout"), `{"imageLayoutVersion":"1.0.0"}`)
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// put adds a blob.
func put(t *testing.T, dir, text string) imgspec.Descriptor {
	t.Helper()
	d := digest.FromString(text)
	write(t, blobPath(dir, d), text)
	return imgspec.Descriptor{MediaType: imgspec.MediaTypeImageManifest, Digest: d, Size: int64(len(text))}
}

// image adds an image, or a cache, with a layer of its own to the index.
func image(t *testing.T, dir, configType, tag, layer string) imgspec.Descriptor {
	t.Helper()
	conf, blob := put(t, dir, `{"of":"`+layer+`"}`), put(t, dir, layer)
	conf.MediaType = configType
	raw, err := json.Marshal(imgspec.Manifest{MediaType: imgspec.MediaTypeImageManifest, Config: conf, Layers: []imgspec.Descriptor{blob}})
	if err != nil {
		t.Fatal(err)
	}
	d := put(t, dir, string(raw))
	if tag != "" {
		d.Annotations = map[string]string{imgspec.AnnotationRefName: tag}
	}
	ix, err := ReadIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	ix.Manifests = append(ix.Manifests, d)
	if err := WriteIndex(dir, ix); err != nil {
		t.Fatal(err)
	}
	return d
}

func blobs(t *testing.T, dir string) int {
	t.Helper()
	ents, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	return len(ents)
}

func TestFind(t *testing.T) {
	dir := directory(t)
	if _, _, err := Find(dir + "-none"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	one := image(t, dir, "c", "one", "1")
	got := func(where string) string {
		ref, at, err := Find(where)
		if err != nil {
			return errs.KindOf(err).String()
		}
		if at != dir {
			t.Errorf("%s: directory %s", where, at)
		}
		src, err := ref.NewImageSource(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		raw, _, err := src.GetManifest(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return digest.FromBytes(raw).String()
	}
	if d := got(dir); d != one.Digest.String() {
		t.Error(d)
	}
	two := image(t, dir, "c", "registry.example/two:latest", "2")
	bad := errs.Invalid.String()
	missing := errs.NotFound.String()
	for end, want := range map[string]string{
		":one": one.Digest.String(), ":latest": two.Digest.String(), ":registry.example/two:latest": missing, ":three": missing,
		"@" + two.Digest.String(): two.Digest.String(), "@" + digest.FromString("x").String(): missing, "@sha256:1": bad,
	} {
		if d := got(dir + end); d != want {
			t.Errorf("%s: got %s, want %s", end, d, want)
		}
	}
}

func TestDefaultEntry(t *testing.T) {
	for want, tags := range map[int][]string{0: {"only"}, 1: {"a", "latest"}, 2: {"a", "", "x/y:latest"}, -1: {"a", "b"}} {
		if got := defaultEntry(tags); got != want {
			t.Errorf("%q: %d", tags, got)
		}
	}
}

func TestHostile(t *testing.T) {
	dir := directory(t)
	for _, d := range []digest.Digest{"", "x", "sha256:../../../../etc/passwd", "md5:0"} {
		if err := CheckManifest(dir, d); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%q: %v", d, err)
		}
	}
	huge := put(t, dir, strings.Repeat("x", blob.MaxManifest+1))
	if err := CheckManifest(dir, huge.Digest); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	dirBlob := digest.FromString("a directory")
	if err := os.Mkdir(blobPath(dir, dirBlob), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := CheckManifest(dir, dirBlob); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	if err := CheckManifest(dir, put(t, dir, strings.Repeat("x", blob.MaxManifest)).Digest); err != nil {
		t.Error(err)
	}
	if err := CheckIndex(dir); !errs.Is(err, errs.Invalid) {
		t.Error("there is none:", err)
	}
	write(t, filepath.Join(dir, "index.json"), "[")
	if _, err := ReadIndex(dir); !errs.Is(err, errs.Corrupt) {
		t.Error(err)
	}
	// Tidying follows no digest out of the directory.
	write(t, filepath.Join(dir, "index.json"), `{"manifests":[{"digest":"no digest"}]}`)
	if err := Tidy(dir, "c"); !errs.Is(err, errs.Corrupt) {
		t.Error(err)
	}
}

func TestPutList(t *testing.T) {
	dir := directory(t)
	image(t, dir, "c", "kept", "1")
	image(t, dir, "c", "multi", "2")
	before, err := ReadIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	raw := []byte(`{"manifests":[]}`)
	if err := PutList(dir, before, raw, []string{"multi", ""}); err != nil {
		t.Fatal(err)
	}
	ix, err := ReadIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range ix.Manifests {
		names = append(names, d.Annotations[imgspec.AnnotationRefName]+" "+map[bool]string{true: "list", false: "image"}[d.Digest == digest.FromBytes(raw)])
	}
	if !reflect.DeepEqual(names, []string{"kept image", "multi list", " list"}) {
		t.Errorf("%q", names)
	}
	if text, err := os.ReadFile(blobPath(dir, digest.FromBytes(raw))); err != nil || string(text) != string(raw) {
		t.Error(string(text), err)
	}
	if ents, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(ents) != 0 {
		t.Error("left:", ents, err)
	}
}

func TestTidy(t *testing.T) {
	dir := directory(t)
	old := image(t, dir, "cache", "", "old") // replaced: the library keeps it without its name
	kept := image(t, dir, "cache", "latest", "new")
	put(t, dir, "a killed writer's")
	if err := Tidy(dir, "cache"); err != nil || blobs(t, dir) != 3 {
		t.Error(blobs(t, dir), err)
	}
	ix, err := ReadIndex(dir)
	if err != nil || len(ix.Manifests) != 1 || ix.Manifests[0].Digest != kept.Digest || kept.Digest == old.Digest {
		t.Errorf("%+v %v", ix, err)
	}
	// Somebody else's directory is left as it is.
	image(t, dir, "an image's", "theirs", "theirs")
	put(t, dir, "theirs too")
	if err := Tidy(dir, "cache"); err != nil || blobs(t, dir) != 7 {
		t.Error(blobs(t, dir), err)
	}
}

func TestLockAndReading(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "for", "it")
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	write(t, filepath.Join(dir, "oci-put-blob123"), "half")
	failure := errors.New("half written")
	ctx, cancel := context.WithTimeout(context.Background(), 3*poll)
	defer cancel()
	if err := Reading(ctx, dir, func() error { return failure }); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("called off while somebody writes:", err)
	}
	done := time.AfterFunc(2*poll, unlock)
	defer done.Stop()
	tries := 0
	err = Reading(context.Background(), dir, func() error {
		if tries++; tries == 1 {
			return failure
		}
		return nil
	})
	if err != nil || tries != 2 {
		t.Error("after the writer:", err, tries)
	}
	if err := Reading(context.Background(), dir, func() error { return failure }); !errors.Is(err, failure) {
		t.Error("broken, and nobody writes:", err)
	}
	if again, err := Lock(dir); err != nil {
		t.Error(err)
	} else {
		defer again()
	}
	if _, err := os.Stat(filepath.Join(dir, "oci-put-blob123")); !os.IsNotExist(err) {
		t.Error("what a killed writer left is still there:", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	if _, err := Lock(filepath.Join(file, "below")); err == nil {
		t.Error("made below a file")
	}
}

func TestNames(t *testing.T) {
	const containerd, oci = "io.containerd.image.name", imgspec.AnnotationRefName
	for want, a := range map[string]map[string]string{
		"docker.io/library/a:1":      {containerd: "docker.io/library/a:1", oci: "1"},
		"docker.io/library/b:latest": {oci: "library/b"},
		"docker.io/library/c:2":      {oci: "c:2"},
		"":                           {oci: "latest"},
	} {
		if got := strings.Join(Names(a), " "); got != want {
			t.Errorf("%v: got %q, want %q", a, got, want)
		}
	}
	if got := Names(map[string]string{oci: "NOT/A:NAME"}); got != nil {
		t.Error(got)
	}
}
