// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/docker/distribution/registry/api/errcode"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestSystemContext(t *testing.T) {
	home(t, "")
	no := false
	sys, err := RemoteOptions{Creds: "me:a:b", TLSVerify: &no, CertDir: "/certs"}.SystemContext()
	if err != nil || sys.DockerAuthConfig.Username != "me" || sys.DockerAuthConfig.Password != "a:b" ||
		sys.DockerInsecureSkipTLSVerify != types.OptionalBoolTrue || sys.DockerCertPath != "/certs" {
		t.Errorf("%+v %v", sys, err)
	}
	for _, bad := range []string{"me", ":pw"} {
		if _, err := (RemoteOptions{Creds: bad}).SystemContext(); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	t.Setenv("REGISTRY_AUTH_FILE", "/from/environment")
	if sys, err := (RemoteOptions{}).SystemContext(); err != nil || sys.AuthFilePath != "/from/environment" || sys.DockerInsecureSkipTLSVerify != types.OptionalBoolUndefined {
		t.Errorf("%+v %v", sys, err)
	}
	if sys, err := (RemoteOptions{AuthFile: "/given"}).SystemContext(); err != nil || sys.AuthFilePath != "/given" {
		t.Errorf("%+v %v", sys, err)
	}
}

func TestTransient(t *testing.T) {
	for err, want := range map[error]bool{
		io.ErrUnexpectedEOF: true, syscall.ECONNRESET: true, syscall.ECONNREFUSED: false, docker.ErrTooManyRequests: false, context.Canceled: false,
		docker.UnexpectedHTTPStatusError{StatusCode: 503}: true, docker.UnexpectedHTTPStatusError{StatusCode: 404}: false,
		errcode.ErrorCodeUnavailable.WithMessage("x"): true, errcode.ErrorCodeDenied.WithMessage("x"): false,
		errors.New("received unexpected HTTP status: 502 Bad Gateway"): true, errors.New("manifest unknown"): false,
	} {
		if got := Transient(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	if Transient(nil) {
		t.Error("no error")
	}
}

// attempts are n further ones, or with -1 what nobody has said anything about.
func attempts(n int) RemoteOptions {
	if n < 0 {
		return RemoteOptions{}
	}
	return RemoteOptions{Retry: &n, RetryDelay: time.Millisecond}
}

func TestRetrying(t *testing.T) {
	for what, c := range map[string]struct {
		fails   int
		err     error
		further int
		calls   int
	}{
		"once":           {0, nil, 3, 1},
		"passes":         {2, io.ErrUnexpectedEOF, 3, 3},
		"again":          {9, io.ErrUnexpectedEOF, 3, 4},
		"never":          {9, io.ErrUnexpectedEOF, 0, 1},
		"will not pass":  {9, errors.New("denied"), 3, 1},
		"nobody is home": {9, syscall.ECONNREFUSED, -1, 1},
		"comes home":     {2, syscall.ECONNREFUSED, 3, 3},
	} {
		calls := 0
		err := attempts(c.further).Retrying(context.Background(), func() error {
			if calls++; calls <= c.fails {
				return c.err
			}
			return nil
		})
		if calls != c.calls || (err == nil) != (c.fails < c.calls) {
			t.Errorf("%s: %d calls, %v", what, calls, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	err := RemoteOptions{RetryDelay: time.Hour}.Retrying(ctx, func() error {
		calls++
		time.AfterFunc(10*time.Millisecond, cancel)
		return io.ErrUnexpectedEOF
	})
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Error("called off while it waits:", calls, err)
	}
}

// cutter serves one blob and cuts each connection.
type cutter struct {
	types.ImageSource
	blob   []byte
	cut    []int // after so many bytes, the connections one after the other; then none
	length int64 // as it says
	err    error // instead of a cut: of opening
	opened int
	urls   []string
}

func (c *cutter) GetBlob(_ context.Context, info types.BlobInfo, _ types.BlobInfoCache) (io.ReadCloser, int64, error) {
	n := c.opened
	c.opened++
	c.urls = info.URLs
	if c.err != nil {
		return nil, -1, c.err
	}
	if n >= len(c.cut) {
		return io.NopCloser(bytes.NewReader(c.blob)), c.length, nil
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(c.blob[:c.cut[n]]), failing{})), c.length, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOpenBlob(t *testing.T) {
	blob := bytes.Repeat([]byte("0123456789abcdef"), 100<<10) // 1.6 MB
	for what, c := range map[string]struct {
		src    cutter
		retry  int
		kind   errs.Kind // with 0 all must come
		opened int
	}{
		"whole":             {cutter{}, 0, 0, 1},
		"cut twice":         {cutter{cut: []int{1000, 500}}, 3, 0, 3},
		"cut at the start":  {cutter{cut: []int{0, 0, 0}}, 3, 0, 4},
		"no more attempts":  {cutter{cut: []int{1000, 1000, 1000}}, 2, errs.Unavailable, 3},
		"progress earns":    {cutter{cut: []int{300 << 10, 600 << 10, 900 << 10, 1200 << 10}}, 1, 0, 5},
		"never opened":      {cutter{err: io.ErrUnexpectedEOF}, 2, errs.Unavailable, 3},
		"nobody is there":   {cutter{err: syscall.ECONNREFUSED}, -1, errs.Internal, 1},
		"not there yet":     {cutter{err: syscall.ECONNREFUSED}, 3, errs.Internal, 4}, // who asks for attempts gets them
		"will not be there": {cutter{err: errs.New(errs.NotFound, "no blob")}, 3, errs.NotFound, 1},
	} {
		c.src.blob, c.src.length = blob, int64(len(blob))
		got, err := func() ([]byte, error) {
			r, size, err := OpenBlob(context.Background(), &c.src, attempts(c.retry), types.BlobInfo{Size: int64(len(blob)), URLs: []string{"http://internal.example/"}})
			if err != nil {
				return nil, err
			}
			defer r.Close()
			if size != int64(len(blob)) {
				t.Errorf("%s: size %d", what, size)
			}
			return io.ReadAll(r)
		}()
		switch {
		case c.kind == 0 && c.src.err == nil && (err != nil || !bytes.Equal(got, blob)):
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		case c.kind != 0 && errs.KindOf(err) != c.kind:
			t.Errorf("%s: %v, kind %v", what, err, errs.KindOf(err))
		case c.src.err != nil && err == nil:
			t.Errorf("%s: no error", what)
		}
		if c.src.opened != c.opened {
			t.Errorf("%s: %d connections, want %d", what, c.src.opened, c.opened)
		}
		if c.src.urls != nil {
			t.Errorf("%s: the manifest's addresses were asked: %v", what, c.src.urls)
		}
	}
}

// An answer without a length that ends early looks like the end of the blob.
func TestShortWithoutLength(t *testing.T) {
	src := &short{cutter{blob: bytes.Repeat([]byte("x"), 1000), length: -1}}
	r, _, err := OpenBlob(context.Background(), src, attempts(2), types.BlobInfo{Size: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || len(got) != 1000 || src.opened != 2 {
		t.Errorf("%d bytes in %d connections: %v", len(got), src.opened, err)
	}
}

// short ends the first answer in the middle, in good order.
type short struct{ cutter }

func (s *short) GetBlob(ctx context.Context, info types.BlobInfo, cache types.BlobInfoCache) (io.ReadCloser, int64, error) {
	rc, n, err := s.cutter.GetBlob(ctx, info, cache)
	if s.opened == 1 {
		rc = io.NopCloser(io.LimitReader(rc, 400))
	}
	return rc, n, err
}

func TestOpenBlobCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	src := &cutter{blob: make([]byte, 100), length: 100, cut: []int{50}}
	r, _, err := OpenBlob(ctx, src, RemoteOptions{RetryDelay: time.Hour}, types.BlobInfo{Size: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
