// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

// A server that falls silent before or in the middle of its answer is given up,
// and no message names the account.
func TestSilentServer(t *testing.T) {
	defer func(d time.Duration) { silence = d }(silence)
	silence = 200 * time.Millisecond
	ended := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
			return
		}
		if r.URL.Path == "/middle" {
			w.Write([]byte("begin"))
			w.(http.Flusher).Flush()
		}
		<-ended
	}))
	defer srv.Close()
	defer close(ended)
	at := strings.Replace(srv.URL, "http://", "http://me:secret@", 1)
	for path, want := range map[string]string{"/start": "sent nothing for 200ms", "/middle": "sent nothing for 200ms", "/missing": "404"} {
		_, err := (*Web)(nil).Fetch(context.Background(), at+path, t.TempDir())
		if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
