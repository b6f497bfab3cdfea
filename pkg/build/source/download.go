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
)

// Download is a file fetched for ADD.
type Download struct {
	Path    string
	SHA256  string
	ModTime time.Time
}

// Fetch downloads a file into a new one in dir, which the caller removes.
func (web *Web) Fetch(ctx context.Context, src, dir string) (*Download, error) {
	resp, err := web.get(ctx, src)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	f, err := os.CreateTemp(dir, "download-")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), resp.Body); err != nil {
		return nil, err
	}
	d := &Download{Path: f.Name(), SHA256: hex.EncodeToString(h.Sum(nil)), ModTime: time.Unix(0, 0)}
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		d.ModTime = t
	}
	return d, nil
}
