// SPDX-License-Identifier: Apache-2.0

package manifestlist

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/document"
)

const imageManifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}`

func of(id, osName, arch, variant string) imgspec.Descriptor {
	raw := []byte(strings.Replace(imageManifest, "{}", `{"x":"`+id+`"}`, 1))
	return OfImage(id, raw, imgspec.Platform{OS: osName, Architecture: arch, Variant: variant})
}

func sample() *imgspec.Index {
	ix := New(nil)
	remote := of("r", "linux", "arm64", "v8")
	remote.Annotations = AtRegistry("docker.io/library/alpine", remote.Digest, "docker.io/library/alpine:3")
	Put(ix, of("aa", "linux", "amd64", ""), remote)
	return ix
}

func encode(t *testing.T, ix *imgspec.Index, format string) []byte {
	t.Helper()
	raw, err := Encode(ix, format)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestSources(t *testing.T) {
	ix := sample()
	if id, remote := document.Source(&ix.Manifests[0]); id != "aa" || remote != "" {
		t.Error(id, remote)
	}
	if id, remote := document.Source(&ix.Manifests[1]); id != "" || remote != "docker.io/library/alpine@"+ix.Manifests[1].Digest.String() {
		t.Error(id, remote)
	}
	raw := encode(t, ix, "")
	if ids := document.Images(raw); !reflect.DeepEqual(ids, []string{"aa"}) {
		t.Error(ids)
	}
	if ids := document.Images([]byte("{")); ids != nil {
		t.Error(ids)
	}
	Annotate(ix, map[string]string{"of": "the list"})
	ix.Manifests[0].Annotations["kept"] = "yes"
	clean, err := Clean(encode(t, ix, ""))
	if err != nil || strings.Contains(string(clean), "proa.") || !strings.Contains(string(clean), `"kept":"yes"`) || !strings.Contains(string(clean), "the list") {
		t.Errorf("%s %v", clean, err)
	}
	if _, err := Clean([]byte("[]")); !errs.Is(err, errs.Corrupt) {
		t.Error(err)
	}
}

// What a list was read from must not change with what is made of it.
func TestHideSourcesCopies(t *testing.T) {
	ix := sample()
	other := *ix
	other.Manifests = append([]imgspec.Descriptor(nil), ix.Manifests...)
	HideSources(&other)
	if id, _ := document.Source(&ix.Manifests[0]); id != "aa" {
		t.Error("the original lost its source")
	}
	if other.Manifests[0].Annotations != nil {
		t.Error(other.Manifests[0].Annotations)
	}
}

func TestFind(t *testing.T) {
	ix := sample()
	d := ix.Manifests[1].Digest
	for _, c := range []struct {
		digest, id, name string
		want             int
	}{
		{d.String(), "", "", 1},
		{d.Encoded(), "", "", 1},
		{"alpine", "aa", "docker.io/library/other:1", 0},
		{"alpine", "", "docker.io/library/alpine:3", 1},
		{"alpine", "bb", "docker.io/library/alpine:4", -1},
		{"", "", "", -1},
	} {
		if got := Find(ix, c.digest, c.id, c.name); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}

// A list may come from anybody.
func TestFindBadDigest(t *testing.T) {
	ix := sample()
	Put(ix, imgspec.Descriptor{Digest: "no digest"}, imgspec.Descriptor{})
	if got := Find(ix, "no digest", "", ""); got != 2 {
		t.Error(got)
	}
	if got := Find(ix, "", "", ""); got != -1 {
		t.Error(got)
	}
}

func TestPutAndReplace(t *testing.T) {
	ix := sample()
	again := of("aa", "linux", "amd64", "")
	again.Annotations["new"] = "1"
	Put(ix, again)
	if len(ix.Manifests) != 2 || ix.Manifests[1].Annotations["new"] != "1" {
		t.Errorf("the same digest stands once, at the end: %+v", ix.Manifests)
	}
	foreign := of("zz", "linux", "amd64", "")
	foreign.Annotations = nil // came with a list from elsewhere
	Put(ix, foreign)
	Replace(ix, of("bb", "linux", "amd64", ""))
	if len(ix.Manifests) != 3 || Find(ix, "", "aa", "") >= 0 || Find(ix, "", "bb", "") != 2 || Find(ix, foreign.Digest.String(), "", "") < 0 {
		t.Errorf("built again, the former image of the platform goes: %+v", ix.Manifests)
	}
}

func TestApply(t *testing.T) {
	d := of("aa", "linux", "amd64", "")
	(&Entry{Arch: "arm64", Variant: "v8", OSFeatures: []string{"f"}, Annotations: map[string]string{"k": "v"}}).Apply(&d)
	want := imgspec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8", OSFeatures: []string{"f"}}
	if !reflect.DeepEqual(*d.Platform, want) || d.Annotations["k"] != "v" {
		t.Errorf("%+v %+v", *d.Platform, d.Annotations)
	}
	var bare imgspec.Descriptor
	(&Entry{OS: "linux"}).Apply(&bare)
	if bare.Platform.OS != "linux" || bare.Annotations != nil {
		t.Errorf("%+v", bare)
	}
}

func TestChoose(t *testing.T) {
	ix := New(nil)
	Put(ix, of("v6", "linux", "arm", "v6"), of("v7", "linux", "arm", "v7"), of("plain", "linux", "arm64", ""), of("win", "windows", "amd64", ""))
	ix.Manifests = append(ix.Manifests, imgspec.Descriptor{Digest: digest.FromString("no platform")})
	for in, want := range map[[3]string]string{
		{"linux", "arm", "v7"}:   "v7",
		{"linux", "arm", ""}:     "v6", // the first of them
		{"linux", "arm", "v5"}:   "",
		{"linux", "arm64", "v8"}: "plain",
		{"linux", "amd64", ""}:   "",
	} {
		got := ""
		if d := Choose(ix, in[0], in[1], in[2]); d != nil {
			got, _ = document.Source(d)
		}
		if got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
	Put(ix, of("attestation", "unknown", "unknown", ""), of("v7 again", "linux", "arm", "v7"))
	if got := Platforms(ix.Manifests); !reflect.DeepEqual(got, []string{"linux/arm/v6", "linux/arm/v7", "linux/arm64"}) {
		t.Error(got)
	}
}

func TestEncode(t *testing.T) {
	ix := sample()
	HideSources(ix)
	var got struct {
		MediaType string               `json:"mediaType"`
		Manifests []imgspec.Descriptor `json:"manifests"`
	}
	for format, mime := range map[string]string{"": imgspec.MediaTypeImageIndex, "oci": imgspec.MediaTypeImageIndex, "v2s2": manifest.DockerV2ListMediaType} {
		if err := json.Unmarshal(encode(t, ix, format), &got); err != nil || got.MediaType != mime || len(got.Manifests) != 2 {
			t.Errorf("%q: %+v, %v", format, got, err)
		}
	}
	// An empty list has an empty array: null is refused by registries.
	if raw := string(encode(t, New(nil), "")); !strings.Contains(raw, `"manifests":[]`) {
		t.Error(raw)
	}
}

func TestInstances(t *testing.T) {
	raw := encode(t, sample(), "")
	l, err := manifest.ListFromBlob(raw, imgspec.MediaTypeImageIndex)
	if err != nil {
		t.Fatal(err)
	}
	all := l.Instances()
	got, err := Instances(l, all[1:], func(d digest.Digest) map[string]string { return map[string]string{"d": d.String()} })
	if err != nil || len(got) != 1 || got[0].Platform.Variant != "v8" || got[0].Annotations["d"] != all[1].String() {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := Instances(l, []digest.Digest{"../x"}, nil); !errs.Is(err, errs.Corrupt) {
		t.Error(err)
	}
	if _, err := Instances(l, []digest.Digest{digest.FromString("x")}, nil); err == nil {
		t.Error("a digest that the list does not have")
	}
}

func TestVerbose(t *testing.T) {
	for mime, docker := range map[string]bool{manifest.DockerV2Schema2MediaType: true, imgspec.MediaTypeImageManifest: false} {
		raw, err := json.Marshal(VerboseOf("x", imgspec.Descriptor{MediaType: mime}, []byte(imageManifest)))
		if err != nil || strings.Contains(string(raw), `"SchemaV2Manifest"`) != docker || strings.Contains(string(raw), `"OCIManifest"`) == docker {
			t.Errorf("%s %v", raw, err)
		}
	}
}
