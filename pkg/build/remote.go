// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/errs"
)

// remoteItem fetches what ADD names by URL: a file, or a git repository.
func (s *stage) remoteItem(ctx context.Context, src string, j copyJob, closers *[]func()) ([]item, error) {
	if isGit(src) {
		return s.gitItem(ctx, src, j, closers)
	}
	u, err := url.Parse(src)
	if err != nil {
		return nil, errs.New(errs.Invalid, "bad URL %q: %v", src, err)
	}
	base := path.Base(u.Path)
	if (base == "/" || base == ".") && strings.HasSuffix(j.sources.DestPath, "/") {
		return nil, errs.New(errs.Invalid, "cannot determine filename for source %s: give the destination a name", src)
	}
	d, err := s.b.fetch(ctx, src)
	if err != nil {
		return nil, err
	}
	*closers = append(*closers, func() { os.Remove(d.path) })
	if want := j.checksum; want != "" && want != "sha256:"+d.sha256 {
		return nil, errs.New(errs.Corrupt, "digest mismatch sha256:%s: %s (from %s)", d.sha256, want, src)
	}
	it := item{file: d, base: base}
	if j.unpack != nil && *j.unpack { // an archive from elsewhere is only unpacked on demand
		f, err := os.Open(d.path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		it.archive = files.IsTar(f)
	}
	return []item{it}, nil
}

func (b *builder) fetch(ctx context.Context, src string) (*download, error) {
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
	f, err := os.CreateTemp(b.tmp, "download-")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), resp.Body); err != nil {
		return nil, &errs.Error{Op: "download", Kind: errs.Unavailable, Object: src, Err: err}
	}
	d := &download{path: f.Name(), sha256: hex.EncodeToString(h.Sum(nil)), mtime: time.Unix(0, 0)}
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		d.mtime = t
	}
	return d, nil
}

// gitItem fetches a repository; its content goes into the destination.
func (s *stage) gitItem(ctx context.Context, src string, j copyJob, closers *[]func()) ([]item, error) {
	dir, err := os.MkdirTemp(s.b.tmp, "git-")
	if err != nil {
		return nil, err
	}
	*closers = append(*closers, func() { os.RemoveAll(dir) })
	top, err := cloneContext(ctx, src, dir, j.keepGit != nil && *j.keepGit, j.checksum)
	if err != nil {
		return nil, err
	}
	r, err := files.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	*closers = append(*closers, func() { r.Close() })
	w := &files.Walker{Root: r}
	if err := w.Add("", ""); err != nil {
		return nil, err
	}
	return []item{{walker: w, dir: true}}, nil
}
