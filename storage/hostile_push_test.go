// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/test/wild"
)

func TestHostilePushTargets(t *testing.T) {
	upload := func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/blobs/uploads/") && r.Method != http.MethodPost
	}
	start := func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/blobs/uploads/") && r.Method == http.MethodPost
	}
	manifest := func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/manifests/") && r.Method == http.MethodPut
	}
	code := func(n int, header ...string) func(http.ResponseWriter, *http.Request) { return status(n, header...) }
	half := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 100)
		wild.HangUp(w)
	}
	hang := func(w http.ResponseWriter, _ *http.Request) { wild.Hang(w) }
	for name, c := range map[string]struct {
		when func(*http.Request) bool
		do   func(http.ResponseWriter, *http.Request)
		// times it fails; 0: always
		times int32
		kind  errs.Kind
		says  string
	}{
		"no upload begins":             {start, code(503), 0, errs.Unavailable, "503"},
		"uploads end halfway":          {upload, half, 0, errs.Unavailable, "cannot reach"},
		"an upload ends halfway":       {upload, half, 1, errs.Internal, ""},
		"an upload fails":              {upload, code(500), 1, errs.Internal, ""},
		"uploads fail":                 {upload, code(502), 0, errs.Unavailable, "502"},
		"uploads are not allowed":      {start, code(403), 0, errs.Unauthorized, "denied"},
		"the login ends in between":    {upload, code(401, "WWW-Authenticate", `Basic realm="x"`), 0, errs.Unauthorized, "denied"},
		"uploads are not answered":     {upload, hang, 0, errs.Unavailable, "sent nothing for"},
		"the manifest is refused":      {manifest, code(500), 0, errs.Unavailable, "500"},
		"the manifest is refused once": {manifest, code(503), 1, errs.Internal, ""},
		"the manifest is not answered": {manifest, hang, 0, errs.Unavailable, "sent nothing for"},
		"too many requests":            {start, code(429, "Retry-After", "0"), 0, errs.Unavailable, "limits the rate"},
	} {
		t.Run(name, func(t *testing.T) {
			quick(t, 50*time.Millisecond)
			var n atomic.Int32
			f := front(t, newRegistry(t), func(w http.ResponseWriter, r *http.Request) bool {
				if !c.when(r) || c.times > 0 && n.Add(1) > c.times {
					return false
				}
				c.do(w, r)
				return true
			})
			t.Cleanup(f.CloseClientConnections)
			s := newStore(t, hostOf(f))
			img := loadAlpine(t, s)
			_, err := s.Push(context.Background(), "alpine", PushOptions{RemoteOptions: fast(1), Destination: hostOf(f) + "/me/x:1"})
			t.Log(err)
			if c.times > 0 {
				if err != nil {
					t.Error("it was not tried again")
				}
			} else if !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v (%v)", err, errs.KindOf(err))
			}
			if got, err := s.Resolve("alpine"); err != nil || got.ID != img.ID {
				t.Errorf("the image is lost: %v", err)
			}
			for _, d := range []string{s.tmpDir(), s.opsDir()} {
				ents, _ := os.ReadDir(d)
				for _, e := range ents {
					if e.Name() != "lock" && e.Name() != "layers" {
						t.Errorf("%s/%s is left", d, e.Name())
					}
				}
			}
		})
	}
}
