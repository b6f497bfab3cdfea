// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

// Download is a file fetched for ADD.
type Download struct {
	Path    string
	SHA256  string
	ModTime time.Time
}

// Fetch downloads a file into a new one in dir, which the caller removes.
func Fetch(ctx context.Context, src, dir string) (*Download, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, src, nil)
	if err != nil {
		return nil, errs.New(errs.Invalid, "bad URL %q: %v", src, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, &errs.Error{Op: "download", Kind: errs.Unavailable, Object: src, Err: err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &errs.Error{Op: "download", Kind: errs.Unavailable, Object: src, Err: errs.New(errs.Unavailable, "the server answered %s", resp.Status)}
	}
	f, err := os.CreateTemp(dir, "download-")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), resp.Body); err != nil {
		return nil, &errs.Error{Op: "download", Kind: errs.Unavailable, Object: src, Err: err}
	}
	d := &Download{Path: f.Name(), SHA256: hex.EncodeToString(h.Sum(nil)), ModTime: time.Unix(0, 0)}
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		d.ModTime = t
	}
	return d, nil
}
