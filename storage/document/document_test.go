// SPDX-License-Identifier: Apache-2.0

package document

import (
	"encoding/json"
	"slices"
	"testing"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"
)

var documents = []string{
	`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}`,
	`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}`,
	`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"x/y"}}`,
	`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"}`,
	`{"schemaVersion":2,"mediaType":"something/else"}`,
	`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json"}}`,
	`{"schemaVersion":2,"config":{"mediaType":"application/vnd.docker.container.image.v1+json"}}`,
	`{"schemaVersion":2,"manifests":[{"mediaType":"a"}]}`,
	`{"schemaVersion":2,"config":{"mediaType":"x/y"},"manifests":[{"mediaType":"a"}]}`,
	`{"schemaVersion":2,"config":{"mediaType":"x/y"}}`,
	`{"schemaVersion":1}`, `{"schemaVersion":1,"signatures":null}`, `{"schemaVersion":1,"signatures":[{}]}`,
	`{}`, `[]`, `null`, `{"schemaVersion":3}`, `{"mediaType":7}`, `x`, ``,
}

// TestMIMEType compares with the image library, which writes what is read here.
func TestMIMEType(t *testing.T) {
	for _, d := range documents {
		if got, want := MIMEType([]byte(d)), manifest.GuessMIMEType([]byte(d)); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}

func FuzzMIMEType(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, want := MIMEType(raw), manifest.GuessMIMEType(raw)
		// What has a field of a wrong type is nothing here; the library looks at fewer fields.
		if got != want && got != "" {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
		Images(raw)
	})
}

func TestImages(t *testing.T) {
	list := imgspec.Index{}
	for _, source := range []string{"aa", "docker://example.org/x@sha256:0", "../b", "", "cc"} {
		list.Manifests = append(list.Manifests, imgspec.Descriptor{Annotations: map[string]string{SourceAnnotation: source}})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	if got := Images(raw); !slices.Equal(got, []string{"aa", "cc"}) {
		t.Error(got)
	}
	for _, none := range []string{`{}`, `x`, `{"manifests":7}`} {
		if got := Images([]byte(none)); got != nil {
			t.Errorf("%s: %q", none, got)
		}
	}
	if _, remote := Source(&list.Manifests[1]); remote != "example.org/x@sha256:0" {
		t.Error(remote)
	}
}
