// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.podman.io/image/v5/pkg/compression"

	"github.com/proa-containers/proa/pkg/errs"
)

// maxWindow is the memory that a zstd stream may ask for: as much as the zstd
// program grants.
const maxWindow = 128 << 20

// Decompress finds out how r is compressed and returns the plain stream, which
// ends where r does: r was read to its end then, so that whoever verifies r saw
// all of it. The caller calls stop, after which nothing reads r any more. Kind
// Corrupt: r is damaged.
func Decompress(r io.Reader) (plain io.Reader, stop func(), err error) {
	br := bufio.NewReaderSize(r, 256<<10)
	head, err := br.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, errs.New(errs.Corrupt, "cannot decompress: %w", err)
		}
		return ahead(z, br)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(br, zstd.WithDecoderMaxMemory(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, errs.New(errs.Corrupt, "cannot decompress: %w", err)
		}
		return ahead(z.IOReadCloser(), br)
	}
	dec, in, err := compression.DetectCompression(br)
	if err != nil {
		return nil, nil, err
	}
	if dec == nil {
		return in, func() {}, nil
	}
	z, err := dec(in)
	if err != nil {
		return nil, nil, errs.New(errs.Corrupt, "cannot decompress: %w", err)
	}
	return ahead(z, in)
}

// ahead decompresses in a goroutine of its own, one buffer in front of the
// reader, and afterwards reads the rest of the compressed stream, so that its
// digest is complete.
func ahead(z io.ReadCloser, rest io.Reader) (io.Reader, func(), error) {
	a := &aheadReader{full: make(chan chunk, 3), free: make(chan []byte, 4), stop: make(chan struct{}), done: make(chan struct{})}
	for range cap(a.free) {
		a.free <- make([]byte, 256<<10)
	}
	go a.run(z, rest)
	return a, func() {
		close(a.stop)
		<-a.done
		z.Close()
	}, nil
}

type chunk struct {
	b   []byte
	err error
}

type aheadReader struct {
	full chan chunk
	free chan []byte
	stop chan struct{}
	done chan struct{}
	cur  []byte // the unread part of buf
	buf  []byte
	err  error
}

func (a *aheadReader) run(z io.Reader, rest io.Reader) {
	defer close(a.done)
	for {
		var b []byte
		select {
		case b = <-a.free:
		case <-a.stop:
			return
		}
		n, err := io.ReadFull(z, b)
		if errors.Is(err, io.ErrUnexpectedEOF) && n > 0 {
			// The end of the stream or of a truncated one: read again to know.
			var one [1]byte
			if m, again := z.Read(one[:]); m == 0 && errors.Is(again, io.EOF) {
				err = io.EOF
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if _, rerr := io.Copy(io.Discard, rest); rerr != nil {
				err = rerr
			}
		case err != nil && errs.KindOf(err) == errs.Internal:
			err = errs.New(errs.Corrupt, "cannot decompress: %w", err)
		}
		select {
		case a.full <- chunk{b[:n], err}:
		case <-a.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

func (a *aheadReader) Read(p []byte) (int, error) {
	for len(a.cur) == 0 {
		if a.buf != nil {
			a.free <- a.buf[:cap(a.buf)]
			a.buf = nil
		}
		if a.err != nil {
			return 0, a.err
		}
		c := <-a.full
		a.cur, a.buf, a.err = c.b, c.b, c.err
	}
	n := copy(p, a.cur)
	a.cur = a.cur[n:]
	return n, nil
}
