// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// What is pulled: a middling image of a Debian-based application in numbers,
// the same bytes on every machine.
const (
	corpusLayers = 5
	corpusFiles  = 16_700
	corpusBytes  = 250 << 20
	corpusPerDir = 40
	corpusBig    = 20 // files that hold a third of the bytes
)

// corpus makes the contents: words of Zipf's frequencies, as texts and scripts
// have, and runs of bytes as programs have, so that they compress to about a
// third.
type corpus struct {
	rnd   *rand.Rand
	zipf  *rand.Zipf
	words [][]byte
}

func newCorpus(seed uint64) *corpus {
	c := &corpus{rnd: rand.New(rand.NewPCG(seed, 1))}
	c.zipf = rand.NewZipf(c.rnd, 1.2, 4, 4095)
	for range 4096 {
		w := make([]byte, 2+c.rnd.IntN(9))
		for i := range w {
			w[i] = byte('a' + c.rnd.IntN(26))
		}
		c.words = append(c.words, append(w, ' '))
	}
	return c
}

func (c *corpus) fill(p []byte, binary bool) {
	for n := 0; n < len(p); {
		if binary && c.rnd.IntN(2) == 0 {
			m := min(len(p)-n, 8+c.rnd.IntN(24))
			for i := range m {
				p[n+i] = byte(c.rnd.Uint32())
			}
			n += m
			continue
		}
		n += copy(p[n:], c.words[c.zipf.Uint64()])
	}
}

// sizes are those of one layer's files: many small ones, some big.
func (c *corpus) sizes() []int {
	const files, total = corpusFiles / corpusLayers, corpusBytes / corpusLayers
	const big = corpusBig / corpusLayers
	out := make([]int, 0, files)
	sum := 0.0
	raw := make([]float64, files-big)
	for i := range raw {
		raw[i] = c.rnd.ExpFloat64() * c.rnd.ExpFloat64()
		sum += raw[i]
	}
	for _, r := range raw {
		out = append(out, int(r/sum*float64(total)*2/3))
	}
	for range big {
		out = append(out, total/3/big)
	}
	return out
}

// layer packs one layer, compressed as registries keep it.
func (c *corpus) layer(number int) ([]byte, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	t := tar.NewWriter(z)
	when := time.Unix(1_700_000_000, 0)
	for i, size := range c.sizes() {
		dir := fmt.Sprintf("usr/lib/part%d/%03d/", number, i/corpusPerDir)
		if i%corpusPerDir == 0 {
			if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: when}); err != nil {
				return nil, err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%sfile-%05d", dir, i), Mode: 0o644, Size: int64(size), ModTime: when}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		data := make([]byte, size)
		c.fill(data, i%3 == 0)
		if _, err := t.Write(data); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	err := z.Close()
	return packed.Bytes(), err
}

// corpusImage is the image of all layers.
func corpusImage() (v1.Image, error) {
	img := empty.Image
	for i := range corpusLayers {
		data, err := newCorpus(uint64(i)).layer(i)
		if err != nil {
			return nil, err
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			return nil, err
		}
	}
	return mutate.Config(img, v1.Config{Cmd: []string{"sh"}})
}

// serveCorpus offers the image at a registry on loopback; stop ends it.
func serveCorpus() (ref string, stop func(), err error) {
	img, err := corpusImage()
	if err != nil {
		return "", nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	quiet := log.New(io.Discard, "", 0)
	srv := &http.Server{Handler: registry.New(registry.Logger(quiet)), ErrorLog: quiet}
	go srv.Serve(ln)
	ref = ln.Addr().String() + "/bench/app:1"
	dst, err := name.ParseReference(ref, name.Insecure)
	if err == nil {
		err = remote.Write(dst, img)
	}
	if err != nil {
		srv.Close()
		return "", nil, err
	}
	return ref, func() { srv.Close() }, nil
}
