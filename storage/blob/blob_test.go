// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestVerifier(t *testing.T) {
	const text = "what a layer says"
	right, n := digest.FromString(text), int64(len(text))
	for name, c := range map[string]struct {
		want digest.Digest
		size int64
		says string
	}{
		"right":        {right, n, ""},
		"unknown size": {right, -1, ""},
		"too long":     {right, n - 1, "is longer than"},
		"too short":    {right, n + 1, "ends after"},
		"other bytes":  {digest.FromString("x"), n, "has the digest"},
		"no digest":    {"sha256:12", n, "invalid digest"},
	} {
		t.Run(name, func(t *testing.T) {
			var seen int64
			var got []byte
			v, err := NewVerifier(context.Background(), strings.NewReader(text), c.want, c.size, func(n int64) { seen = n })
			if err == nil {
				got, err = io.ReadAll(v)
			}
			switch {
			case c.says == "":
				if err != nil || string(got) != text || seen != n {
					t.Errorf("%q %d %v", got, seen, err)
				}
			case !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), c.says):
				t.Errorf("got %v (%v)", err, errs.KindOf(err))
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	v, err := NewVerifier(ctx, strings.NewReader(text), right, n, nil)
	if err == nil {
		_, err = io.ReadAll(v)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

func compressed(t *testing.T, make func(io.Writer) io.WriteCloser, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := make(&b)
	_, err := io.WriteString(w, text)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestDecompress: the source is read to its end, behind the compressed stream
// too, or its digest would not be that of the whole.
func TestDecompress(t *testing.T) {
	text := strings.Repeat("layers and more layers ", 100000)
	gz := compressed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, text)
	zst := compressed(t, func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}, text)
	for name, in := range map[string][]byte{"plain": []byte(text), "gzip": gz, "zstd": zst} {
		src := bytes.NewReader(in)
		plain, stop, err := Decompress(src)
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := io.ReadAll(plain)
		stop()
		if err != nil || string(got) != text || src.Len() != 0 {
			t.Errorf("%s: %d bytes, %d were not read, %v", name, len(got), src.Len(), err)
		}
	}
	for name, in := range map[string][]byte{"gzip": gz[:len(gz)/2], "zstd": zst[:len(zst)/2]} {
		plain, stop, err := Decompress(bytes.NewReader(in))
		if err == nil {
			_, err = io.Copy(io.Discard, plain)
			stop()
		}
		if !errs.Is(err, errs.Corrupt) {
			t.Errorf("half of %s: %v (%v)", name, err, errs.KindOf(err))
		}
	}
}
