// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/directory"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/blob"
)

// TestPolicyFile: where no policy.json is found every image is allowed; one
// that is named and missing, or broken, allows none.
func TestPolicyFile(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	sys := &types.SystemContext{RootForImplicitAbsolutePaths: t.TempDir()}
	p, err := Policy(sys)
	if err != nil {
		t.Fatalf("without a file: %v", err)
	}
	_ = p.Destroy()
	t.Setenv("CONTAINERS_POLICY_JSON", filepath.Join(t.TempDir(), "none.json"))
	if _, err := Policy(sys); !errs.Is(err, errs.Invalid) {
		t.Errorf("named and missing: %v", err)
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"default": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_POLICY_JSON", bad)
	if _, err := Policy(sys); !errs.Is(err, errs.Invalid) {
		t.Errorf("broken: %v", err)
	}
}

// served is a source that gives what it likes.
type served struct {
	types.ImageReference
	types.ImageSource
	manifest, blob string
	mime           string
	urls           []string
	closed         bool
}

func (s *served) Reference() types.ImageReference { return s.ImageReference }

func (s *served) NewImageSource(context.Context, *types.SystemContext) (types.ImageSource, error) {
	return s, nil
}

func (s *served) GetManifest(context.Context, *digest.Digest) ([]byte, string, error) {
	return []byte(s.manifest), s.mime, nil
}

func (s *served) GetSignatures(context.Context, *digest.Digest) ([][]byte, error) {
	return [][]byte{[]byte("a signature")}, nil
}

func (s *served) GetBlob(_ context.Context, info types.BlobInfo, _ types.BlobInfoCache) (io.ReadCloser, int64, error) {
	s.urls = info.URLs
	return closing{strings.NewReader(s.blob), &s.closed}, -1, nil
}

type closing struct {
	io.Reader
	closed *bool
}

func (c closing) Close() error { *c.closed = true; return nil }

// behind is s behind a policy of one rule.
func behind(t *testing.T, s *served, rule signature.PolicyRequirement) types.ImageSource {
	t.Helper()
	ref, err := directory.NewReference(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.ImageReference = ref
	policy, err := signature.NewPolicyContext(&signature.Policy{Default: signature.PolicyRequirements{rule}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = policy.Destroy() })
	src, err := Source{ImageReference: opening{ref, s}, Policy: policy, What: "thing"}.NewImageSource(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// opening is the reference that opens the source.
type opening struct {
	types.ImageReference
	s *served
}

func (o opening) NewImageSource(context.Context, *types.SystemContext) (types.ImageSource, error) {
	return o.s, nil
}

func TestManifest(t *testing.T) {
	const image, list = imgspec.MediaTypeImageManifest, imgspec.MediaTypeImageIndex
	accept, reject := signature.NewPRInsecureAcceptAnything(), signature.NewPRReject()
	for what, c := range map[string]struct {
		mime, manifest string
		rule           signature.PolicyRequirement
		kind           errs.Kind // 0: it is given
	}{
		"accepted":      {image, `{"schemaVersion":2}`, accept, 0},
		"rejected":      {image, `{"schemaVersion":2}`, reject, errs.Denied},
		"a list is not": {list, `{"schemaVersion":2,"manifests":[]}`, reject, 0}, // the image chosen from it is
		"too long":      {image, strings.Repeat(" ", blob.MaxManifest+1), accept, errs.Invalid},
	} {
		src := behind(t, &served{manifest: c.manifest, mime: c.mime}, c.rule)
		raw, mime, err := src.GetManifest(context.Background(), nil)
		if c.kind == 0 && (err != nil || string(raw) != c.manifest || mime != c.mime) || c.kind != 0 && !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", what, err)
		}
		if c.kind == errs.Denied && !strings.Contains(err.Error(), "this thing") {
			t.Errorf("%s: %v", what, err)
		}
	}
	src := behind(t, &served{}, accept)
	if sigs, err := src.GetSignatures(context.Background(), nil); err != nil || len(sigs) != 0 {
		t.Error("signatures are asked for here, and not passed on:", sigs, err)
	}
}

func TestBlob(t *testing.T) {
	ctx, text := context.Background(), strings.Repeat("x", 5000)
	read := func(s *served, size int64) ([]byte, error) {
		src := behind(t, s, signature.NewPRInsecureAcceptAnything())
		rc, n, err := src.GetBlob(ctx, types.BlobInfo{Digest: digest.FromString(text), Size: size, URLs: []string{"http://internal.example/"}}, nil)
		if err != nil {
			return nil, err
		}
		defer rc.Close()
		if n != size {
			t.Errorf("size %d, want %d", n, size)
		}
		return io.ReadAll(rc)
	}
	s := &served{blob: text}
	if got, err := read(s, int64(len(text))); err != nil || string(got) != text || !s.closed || s.urls != nil {
		t.Errorf("%d bytes, closed %v, asked at %v: %v", len(got), s.closed, s.urls, err)
	}
	for what, bad := range map[string]string{"longer": text + strings.Repeat("y", 1<<20), "shorter": text[1:], "another": "y" + text[1:]} {
		if got, err := read(&served{blob: bad}, int64(len(text))); err == nil || len(got) > 100<<10 {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
	if _, err := read(&served{blob: text}, -1); !errs.Is(err, errs.Corrupt) {
		t.Error("without a length:", err)
	}
}

func TestOwnBlobs(t *testing.T) {
	s := &served{blob: "x"}
	rc, _, err := OwnBlobs{s}.GetBlob(context.Background(), types.BlobInfo{URLs: []string{"http://internal.example/"}}, nil)
	if err != nil || s.urls != nil {
		t.Error(s.urls, err)
	}
	rc.Close()
}
