// SPDX-License-Identifier: Apache-2.0

// Package blob checks and decompresses bytes as they flow: whoever reads them has
// not to trust who sent them, and nothing is held whole.
package blob

import (
	"context"
	"errors"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/pkg/errs"
)

// verifier checks length and digest of a blob as it is read, before its reader
// sees the end.
type verifier struct {
	ctx  context.Context
	r    io.Reader
	h    hash.Hash
	want digest.Digest
	size int64 // -1: unknown
	n    int64
	seen func(n int64)
}

// NewVerifier returns a reader of r that fails, with Kind Corrupt, where r is not
// the blob want of size bytes; size -1: of any length. It ends with ctx. seen,
// unless nil, is told after each read how many bytes there were so far. Closing r
// is the caller's.
func NewVerifier(ctx context.Context, r io.Reader, want digest.Digest, size int64, seen func(int64)) (io.Reader, error) {
	if err := want.Validate(); err != nil {
		return nil, errs.New(errs.Corrupt, "invalid digest %q: %w", want, err)
	}
	return &verifier{ctx: ctx, r: r, h: want.Algorithm().Hash(), want: want, size: size, seen: seen}, nil
}

func (v *verifier) Read(p []byte) (int, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := v.r.Read(p)
	v.h.Write(p[:n])
	v.n += int64(n)
	if v.seen != nil {
		v.seen(v.n)
	}
	if v.size >= 0 && v.n > v.size {
		return n, errs.New(errs.Corrupt, "blob %s is longer than the %d bytes that the manifest says", v.want, v.size)
	}
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if v.size >= 0 && v.n < v.size {
		return n, errs.New(errs.Corrupt, "blob %s ends after %d of %d bytes: %w", v.want, v.n, v.size, io.ErrUnexpectedEOF)
	}
	if got := digest.NewDigest(v.want.Algorithm(), v.h); got != v.want {
		return n, errs.New(errs.Corrupt, "blob %s has the digest %s", v.want, got)
	}
	return n, err
}
