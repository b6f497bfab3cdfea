// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
)

func special(kind byte, name, to string) entry {
	return entry{tar.Header{Name: name, Typeflag: kind, Linkname: to, Mode: 0o644}, ""}
}

// dockerSave is a docker-archive of one layer.
func dockerSave(layer string, change func(files map[string]*entry)) []entry {
	config := fmt.Sprintf(`{"architecture":%q,"os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, runtime.GOARCH, digest.FromString(layer))
	files := map[string]*entry{}
	for _, e := range []entry{file("layer.tar", layer), file("config.json", config), file("manifest.json", `[{"Config":"config.json","RepoTags":["bad:1"],"Layers":["layer.tar"]}]`)} {
		files[e.h.Name] = &e
	}
	if change != nil {
		change(files)
	}
	var out []entry
	for _, name := range []string{"layer.tar", "config.json", "manifest.json"} {
		if files[name] != nil {
			out = append(out, *files[name])
		}
	}
	return out
}

// ociSave is an oci-archive of one layer.
func ociSave(layer string, change func(files map[string]*entry, man *imgspec.Manifest, index *imgspec.Index)) []entry {
	blob := func(b string) entry { return file("blobs/sha256/"+digest.FromString(b).Encoded(), b) }
	desc := func(mime, b string) imgspec.Descriptor {
		return imgspec.Descriptor{MediaType: mime, Digest: digest.FromString(b), Size: int64(len(b))}
	}
	config := fmt.Sprintf(`{"architecture":%q,"os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, runtime.GOARCH, digest.FromString(layer))
	man := imgspec.Manifest{MediaType: ociManifest, Config: desc(imgspec.MediaTypeImageConfig, config), Layers: []imgspec.Descriptor{desc(imgspec.MediaTypeImageLayer, layer)}}
	man.SchemaVersion = 2
	index := imgspec.Index{MediaType: ociIndex}
	index.SchemaVersion = 2
	files := map[string]*entry{}
	for name, e := range map[string]entry{"layout": file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), "config": blob(config), "layer": blob(layer)} {
		files[name] = &e
	}
	if change != nil {
		change(files, &man, &index)
	}
	rawMan, _ := json.Marshal(man)
	m := blob(string(rawMan))
	if files["manifest"] == nil {
		files["manifest"] = &m
	} else {
		files["manifest"].h.Name = m.h.Name
	}
	if index.Manifests == nil {
		index.Manifests = []imgspec.Descriptor{desc(ociManifest, string(rawMan))}
	}
	rawIndex, _ := json.Marshal(index)
	if files["index"] == nil {
		i := file("index.json", string(rawIndex))
		files["index"] = &i
	}
	var out []entry
	for _, name := range []string{"layout", "index", "manifest", "config", "layer"} {
		out = append(out, *files[name])
	}
	return out
}

func TestHostileArchives(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("root:x:0"), 0o600); err != nil {
		t.Fatal(err)
	}
	layer := string(tarOf(t, file("a", "b")))
	escape := string(tarOf(t, special(tar.TypeSymlink, "l", filepath.Dir(secret)), file("l/secret", "evil"), file("../../../../"+secret, "evil")))
	type files = map[string]*entry
	big := func(name string) entry { return file(name, `["`+strings.Repeat("x", 9<<20)+`"]`) }
	replace := func(name string, e entry) func(files) {
		return func(f files) { f[name] = &e }
	}
	oci := func(name string, e entry) func(files, *imgspec.Manifest, *imgspec.Index) {
		return func(f files, _ *imgspec.Manifest, _ *imgspec.Index) { f[name] = &e }
	}
	for name, c := range map[string]struct {
		data []byte
		kind errs.Kind // Internal: it may be loaded
		says string
	}{
		"empty":                            {nil, errs.Invalid, "empty"},
		"garbage":                          {[]byte(strings.Repeat("garbage", 1000)), errs.Invalid, "neither"},
		"compressed garbage":               {gz([]byte(strings.Repeat("garbage", 1000))), errs.Invalid, "neither"},
		"truncated gzip":                   {gz([]byte(noise(1 << 20)))[:1<<19], errs.Corrupt, "decompress"},
		"some tar":                         {tarOf(t, file("a", "b")), errs.Invalid, "neither"},
		"docker: list is no JSON":          {tarOf(t, dockerSave(layer, replace("manifest.json", file("manifest.json", "<html>")))...), errs.Corrupt, "manifest.json"},
		"docker: list too long":            {tarOf(t, dockerSave(layer, replace("manifest.json", big("manifest.json")))...), errs.Corrupt, "exceeded"},
		"docker: list is a link":           {tarOf(t, dockerSave(layer, replace("manifest.json", special(tar.TypeSymlink, "manifest.json", secret)))...), errs.Corrupt, ""},
		"docker: no configuration":         {tarOf(t, dockerSave(layer, func(f files) { delete(f, "config.json") })...), errs.Corrupt, ""},
		"docker: configuration of 9 MB":    {tarOf(t, dockerSave(layer, replace("config.json", big("config.json")))...), errs.Corrupt, "exceeded"},
		"docker: configuration is no JSON": {tarOf(t, dockerSave(layer, replace("config.json", file("config.json", "{")))...), errs.Corrupt, ""},
		"docker: no layer":                 {tarOf(t, dockerSave(layer, func(f files) { delete(f, "layer.tar") })...), errs.Corrupt, ""},
		"docker: other layer":              {tarOf(t, dockerSave(layer, replace("layer.tar", file("layer.tar", string(tarOf(t, file("a", "x"))))))...), errs.Corrupt, ""},
		"docker: layer is a link":          {tarOf(t, dockerSave(layer, replace("layer.tar", special(tar.TypeSymlink, "layer.tar", secret)))...), errs.Corrupt, ""},
		"docker: layer escapes":            {tarOf(t, dockerSave(escape, nil)...), errs.Internal, ""},
		"docker: cut":                      {tarOf(t, dockerSave(layer, nil)...)[:700], errs.Invalid, ""},
		"oci: index is a link":             {tarOf(t, ociSave(layer, oci("index", special(tar.TypeSymlink, "index.json", secret)))...), errs.Invalid, "neither a file nor"},
		"oci: index is a fifo":             {tarOf(t, ociSave(layer, oci("index", special(tar.TypeFifo, "index.json", "")))...), errs.Invalid, "neither a file nor"},
		"oci: index is a device":           {tarOf(t, ociSave(layer, oci("index", special(tar.TypeChar, "index.json", "")))...), errs.Invalid, "neither a file nor"},
		"oci: index of 9 MB":               {tarOf(t, ociSave(layer, oci("index", big("index.json")))...), errs.Invalid, "at most"},
		"oci: index is no JSON":            {tarOf(t, ociSave(layer, oci("index", file("index.json", "<")))...), errs.Invalid, "OCI image directory"},
		"oci: manifest of 9 MB":            {tarOf(t, ociSave(layer, oci("manifest", big("x")))...), errs.Invalid, "at most"},
		"oci: other manifest":              {tarOf(t, ociSave(layer, oci("manifest", file("x", "{}")))...), errs.Corrupt, ""},
		"oci: blob is a link":              {tarOf(t, ociSave(layer, oci("layer", special(tar.TypeSymlink, "blobs/sha256/"+digest.FromString(layer).Encoded(), secret)))...), errs.Invalid, "neither a file nor"},
		"oci: blob is a hard link":         {tarOf(t, ociSave(layer, oci("layer", special(tar.TypeLink, "blobs/sha256/"+digest.FromString(layer).Encoded(), secret)))...), errs.Invalid, "neither a file nor"},
		"oci: a path as digest": {tarOf(t, ociSave(layer, func(_ files, _ *imgspec.Manifest, i *imgspec.Index) {
			i.Manifests = []imgspec.Descriptor{{MediaType: ociManifest, Digest: digest.Digest("sha256:../../../.." + secret), Size: 8}}
		})...), errs.Corrupt, "digest"},
		"oci: a path as digest of a layer": {tarOf(t, ociSave(layer, func(_ files, m *imgspec.Manifest, _ *imgspec.Index) {
			m.Layers[0].Digest = digest.Digest("sha256:../../../.." + secret)
		})...), errs.Corrupt, "digest"},
		"oci: layer shorter than told": {tarOf(t, ociSave(layer, func(_ files, m *imgspec.Manifest, _ *imgspec.Index) { m.Layers[0].Size++ })...), errs.Corrupt, "ends after"},
		"oci: layer escapes":           {tarOf(t, ociSave(escape, nil)...), errs.Internal, ""},
		"oci: blob outside":            {tarOf(t, ociSave(layer, oci("layout", file("../../../../../.."+secret, "evil")))...), errs.Internal, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []bool{false, true} {
				s := newStore(t, "")
				o := LoadOptions{Input: bytes.NewReader(c.data)}
				if path {
					o = LoadOptions{Path: filepath.Join(t.TempDir(), "x.tar")}
					if err := os.WriteFile(o.Path, c.data, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				_, err := s.Load(context.Background(), o)
				t.Log(err)
				if got, _ := os.ReadFile(secret); string(got) != "root:x:0" {
					t.Fatalf("the file outside became %q", got)
				}
				if c.kind == errs.Internal {
					continue // what it unpacks to stays inside
				}
				if !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
					t.Errorf("got %v (%v)", err, errs.KindOf(err))
				}
				if err != nil && strings.Contains(err.Error(), "root:x") {
					t.Errorf("the file outside is shown: %v", err)
				}
				noLeftovers(t, s)
				if kind, _, ok := strings.Cut(name, ":"); ok && path {
					_, err := s.Pull(context.Background(), map[string]string{"oci": "oci-archive:", "docker": "docker-archive:"}[kind]+o.Path, PullOptions{})
					if err == nil || errs.KindOf(err) == errs.Internal || strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
						t.Errorf("pull: %v (%v)", err, errs.KindOf(err))
					}
					noLeftovers(t, s)
				}
			}
		})
	}
}
