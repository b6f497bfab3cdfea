// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"math"
	"reflect"

	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

// A layer is unpacked while it comes in, so a download that was cut off must go
// on in the middle of the stream. The library's reader reconnects too, but once
// only unless a megabyte or a minute lies between, not after silence, and not
// when the first attempt to reconnect fails.

// earnedAttempt is the progress that gives a failed attempt back: a line that is
// cut again and again still brings a layer home, a server that never gets
// anywhere does not keep us for ever.
const earnedAttempt = 256 << 10

// resumer reads one blob over as many connections as it takes. Its reader
// verifies what comes out.
type resumer struct {
	ctx    context.Context
	src    types.ImageSource
	remote RemoteOptions
	info   types.BlobInfo

	w      *watch
	body   io.ReadCloser
	length int64 // as the server said; -1: it did not
	off    int64 // bytes handed out
	failed int   // attempts since earnedAttempt
	mark   int64 // off when the last attempt failed
}

// OpenBlob starts the download of a blob, which goes on over further connections
// as remote says. Size is in bytes, -1 where neither manifest nor server tells
// it. Kind Unavailable: the network or the server failed again and again. The
// caller verifies what it reads, and closes the reader; src stays open.
func OpenBlob(ctx context.Context, src types.ImageSource, remote RemoteOptions, info types.BlobInfo) (rc io.ReadCloser, size int64, err error) {
	// A manifest can name any address of any network: only the registry is asked.
	info.URLs = nil
	r := &resumer{ctx: ctx, src: src, remote: remote, info: info}
	for {
		size, err := r.start()
		if err == nil {
			return r, size, nil
		}
		if err := r.again(err); err != nil {
			return nil, -1, err
		}
	}
}

func (r *resumer) start() (size int64, err error) {
	r.w = watched(r.ctx, silence())
	r.body, size, err = r.src.GetBlob(r.w.ctx, r.info, none.NoCache)
	r.length = size
	return size, r.opened(err)
}

func (r *resumer) opened(err error) error {
	if err != nil {
		err = r.w.explain(err)
		r.w.stop()
		return err
	}
	r.w.unlimited()
	return nil
}

// again decides whether a further attempt follows err, and waits for it.
func (r *resumer) again(err error) error {
	if r.off-r.mark >= earnedAttempt {
		r.failed = 0
	}
	r.mark = r.off
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if r.failed >= r.remote.further() || !r.remote.mayPass(err) {
		return r.final(err)
	}
	r.failed++
	return r.remote.pause(r.ctx, r.failed-1)
}

// final says what the end of the last attempt means for whoever reads: a cut
// line must not look like a damaged archive.
func (r *resumer) final(err error) error {
	switch {
	case !Transient(err):
		return err
	case silent(err):
		return errs.New(errs.Unavailable, "the server sent nothing for %s, after %d bytes", silence(), r.off)
	case r.off > 0:
		return errs.New(errs.Unavailable, "the connection was cut after %d bytes, again and again", r.off)
	}
	return &errs.Error{Kind: errs.Unavailable, Err: err}
}

func (r *resumer) Read(p []byte) (int, error) {
	for {
		if r.body == nil {
			if err := r.reconnect(); err != nil {
				if err := r.again(err); err != nil {
					return 0, err
				}
				continue
			}
		}
		r.w.patient()
		n, err := r.body.Read(p)
		r.off += int64(n)
		if err == nil || errors.Is(err, io.EOF) && !r.short() {
			return n, err
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		r.drop()
		if err := r.again(err); err != nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// short says that the stream ended before the blob does, and that only for want
// of a length in the answer this looks like its end. (An answer that is complete
// and too short is for the verifier.)
func (r *resumer) short() bool { return r.length < 0 && r.info.Size >= 0 && r.off < r.info.Size }

func (r *resumer) drop() {
	if r.body != nil {
		r.w.stop() // first: a body is read to its end where it is closed
		_ = r.body.Close()
		r.body = nil
	}
}

// Close implements io.Closer.
func (r *resumer) Close() error {
	r.drop()
	return nil
}

// reconnect opens the blob where reading stopped, or from its beginning where
// the server sends no parts.
func (r *resumer) reconnect() error {
	if r.off > 0 {
		err := r.part()
		var bad errNoParts
		if !errors.As(err, &bad) {
			return err
		}
	}
	if _, err := r.start(); err != nil || r.off == 0 {
		return err
	}
	for skipped := int64(0); skipped < r.off; {
		r.w.patient()
		n, err := io.CopyN(io.Discard, r.body, min(r.off-skipped, 1<<20))
		skipped += n
		if err != nil {
			r.drop()
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// errNoParts says that neither library nor server hands out parts of a blob.
type errNoParts struct{ error }

// part calls the source's GetBlobAt for everything from off on. The method is
// exported, but its argument's type is in an internal package, so only
// reflection can make it; should a later version lack it, a cut download starts
// again.
func (r *resumer) part() error {
	none := errNoParts{errs.New(errs.Unsupported, "no parts")}
	m := reflect.ValueOf(r.src).MethodByName("GetBlobAt")
	if !m.IsValid() || m.Type().NumIn() != 3 || m.Type().NumOut() != 3 || m.Type().In(2).Kind() != reflect.Slice {
		return none
	}
	chunks := reflect.MakeSlice(m.Type().In(2), 1, 1)
	if chunks.Index(0).Kind() != reflect.Struct {
		return none
	}
	for name, v := range map[string]uint64{"Offset": uint64(r.off), "Length": math.MaxUint64} {
		f := chunks.Index(0).FieldByName(name)
		if !f.IsValid() || f.Kind() != reflect.Uint64 {
			return none
		}
		f.SetUint(v)
	}
	r.w = watched(r.ctx, silence())
	out := m.Call([]reflect.Value{reflect.ValueOf(r.w.ctx), reflect.ValueOf(r.info), chunks})
	streams, ok := out[0].Interface().(chan io.ReadCloser)
	failures, isErr := out[1].Interface().(chan error)
	err, _ := out[2].Interface().(error)
	switch {
	case err != nil:
		err = r.opened(err)
		if Transient(err) || r.ctx.Err() != nil || errors.Is(err, docker.ErrTooManyRequests) {
			return err
		}
		return errNoParts{err}
	case !ok || !isErr:
		r.w.stop()
		return none
	}
	r.w.unlimited()
	select {
	case body, ok := <-streams:
		if !ok {
			err, ok := <-failures
			if !ok || err == nil {
				err = io.ErrUnexpectedEOF
			}
			return r.opened(err)
		}
		r.body = body
	case err := <-failures:
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return r.opened(err)
	}
	return r.opened(nil)
}
