// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// measurePull takes a middling image from a registry on loopback and out of an
// archive, each time into a store of its own: ext4 looks for a minute at every
// inode that was just freed before it gives out another one, so what follows a
// removal measures that.
func measurePull(b *bench, name string) error {
	ref, stop, err := serveCorpus()
	if err != nil {
		return err
	}
	defer stop()
	pull := []string{"pull", "-q", "--tls-verify=false", ref}
	if err := b.freshRatio("pull, 250 MB, 5 layers", pull...); err != nil {
		return err
	}
	if err := b.compareDisk(pull...); err != nil {
		return err
	}
	archive := filepath.Join(b.dir, "corpus.tar")
	if _, err := b.podman.at(b, b.stores).do("save", "-q", "-o", archive, ref); err != nil {
		return err
	}
	defer os.Remove(archive)
	return b.freshRatio("load of it", "load", "-q", "-i", archive)
}

// freshRatio alternates a command between Proa and podman, each run in a store
// that is new, and reports the medians.
func (b *bench) freshRatio(row string, args ...string) error {
	var samples [2][]time.Duration
	for i := -1; i < b.few(); i++ { // the first round only warms up
		b.stores++
		for c, p := range []peer{b.proa.at(b, b.stores), b.podman.at(b, b.stores)} {
			if err := b.makeStore(p, b.storeDir(p, b.stores)); err != nil {
				return err
			}
			d, err := p.once(args...)
			if err != nil {
				return err
			}
			if i >= 0 {
				samples[c] = append(samples[c], d)
			}
		}
	}
	b.ratio(row, median(samples[0]), median(samples[1]), "podman", 0.7)
	return nil
}

func (b *bench) storeDir(p peer, number int) string {
	return filepath.Join(b.dir, "stores", fmt.Sprintf("%s-%d", p.name, number))
}

// at is the same program with another store.
func (p peer) at(b *bench, number int) peer {
	dir := b.storeDir(p, number)
	if p.name == "podman" {
		run := fmt.Sprintf("%s-%d", filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "podman-bench"), number)
		p.argv = podmanArgs(dir, run)
		return p
	}
	p.argv = append([]string{"env", "PROA_DATA_DIR=" + dir}, p.argv...)
	return p
}

// compareDisk compares what two stores grow by when an image comes in.
func (b *bench) compareDisk(pull ...string) error {
	var kb [2]int
	b.stores++
	for i, p := range []peer{b.proa.at(b, b.stores), b.podman.at(b, b.stores)} {
		dir := b.storeDir(p, b.stores)
		if err := b.makeStore(p, dir); err != nil {
			return err
		}
		empty, err := disk(p, dir)
		if err != nil {
			return err
		}
		if _, err := p.do(pull...); err != nil {
			return err
		}
		full, err := disk(p, dir)
		if err != nil {
			return err
		}
		kb[i] = full - empty
	}
	r := float64(kb[0]) / float64(kb[1])
	b.report("disk used by it", "<= 1.00 x podman", fmt.Sprintf("%.4f (%d / %d kB)", r, kb[0], kb[1]), r <= 1)
	return nil
}

// makeStore has a peer make a store, with an image in it.
func (b *bench) makeStore(p peer, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	_, err := p.do("import", b.rootfsArchive(), image)
	return err
}

// disk is what a directory uses, in kB.
func disk(p peer, dir string) (int, error) {
	out, err := p.do("unshare", "du", "-sk", dir)
	if err != nil {
		return 0, err
	}
	n, _, _ := strings.Cut(out, "\t")
	return strconv.Atoi(n)
}

const fourSteps = `FROM bench
RUN echo one >/one
RUN echo two >/two
RUN cat /one /two >/three
RUN echo four >/four
`

func measureBuild(b *bench, name string) error {
	ctx, err := b.context("four", fourSteps)
	if err != nil {
		return err
	}
	cold := []string{"build", "-q", "--no-cache", "-t", "four", ctx}
	m, err := alternate(b.few(), timed{peer: b.proa, args: cold}, timed{peer: b.podman, args: cold})
	if err != nil {
		return err
	}
	b.ratio("build, 4 RUN steps, cold", m[0], m[1], "podman", 0.4)
	cached := []string{"build", "-q", "-t", "four", ctx}
	if m, err = b.alternate(timed{peer: b.proa, args: cached}, timed{peer: b.podman, args: cached}); err != nil {
		return err
	}
	b.ratio("build, 4 RUN steps, cached", m[0], m[1], "podman", 0.3)
	return nil
}

// context writes a directory with a Dockerfile.
func (b *bench) context(name, dockerfile string) (string, error) {
	dir := filepath.Join(b.dir, "context-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644)
}

// measureCopy builds what only copies its context: many small files, and one of
// a gigabyte.
func measureCopy(b *bench, name string) error {
	for _, c := range []struct {
		row         string
		files, size int
		rounds      int
	}{
		{"build, COPY of 10,000 files", 10_000, 2 << 10, b.few()},
		{"build, COPY of 1 GB", 1, 1 << 30, min(b.few(), 3)},
	} {
		ctx, err := b.filledContext(c.files, c.size)
		if err != nil {
			return err
		}
		args := []string{"build", "-q", "--no-cache", "-t", "copied", ctx}
		m, err := alternate(c.rounds, timed{peer: b.proa, args: args}, timed{peer: b.podman, args: args})
		if err != nil {
			return err
		}
		b.ratio(c.row, m[0], m[1], "podman", 0.7)
		for _, p := range []peer{b.proa, b.podman} {
			if _, err := p.do("image", "prune", "-f"); err != nil {
				return err
			}
			if _, err := p.do("rmi", "-f", "copied"); err != nil {
				return err
			}
		}
		if _, err := b.proa.do("builder", "prune", "-f"); err != nil {
			return err
		}
		if err := os.RemoveAll(ctx); err != nil {
			return err
		}
	}
	return nil
}

// filledContext is a directory with files of a size, fifty to a directory.
func (b *bench) filledContext(files, size int) (string, error) {
	ctx, err := b.context("copy", "FROM bench\nCOPY data /data\n")
	if err != nil {
		return "", err
	}
	c := newCorpus(uint64(files))
	block := make([]byte, min(size, 16<<20))
	for i := range files {
		dir := filepath.Join(ctx, "data", fmt.Sprintf("%03d", i/50))
		if i%50 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return "", err
			}
		}
		c.fill(block, true)
		data := bytes.Repeat(block, size/len(block))
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), data, 0o644); err != nil {
			return "", err
		}
	}
	return ctx, nil
}

// measureStages builds ten stages that need nothing of each other and keep a
// core busy, side by side and one after the other.
func measureStages(b *bench, name string) error {
	const stages = 10
	var text strings.Builder
	for i := range stages {
		fmt.Fprintf(&text, "FROM bench AS s%d\nRUN i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo %d >/out%d\n", i, i, i)
	}
	text.WriteString("FROM scratch\n")
	for i := range stages {
		fmt.Fprintf(&text, "COPY --from=s%d /out%d /\n", i, i)
	}
	ctx, err := b.context("stages", text.String())
	if err != nil {
		return err
	}
	args := []string{"build", "-q", "--no-cache", "-t", "stages"}
	m, err := alternate(b.few(), timed{peer: b.proa, args: append(args[:len(args):len(args)], ctx)},
		timed{peer: b.proa, args: append(args[:len(args):len(args)], "--jobs", "1", ctx)})
	if err != nil {
		return err
	}
	b.ratio("build, 10 independent stages", m[0], m[1], "--jobs 1", 0.6)
	return nil
}

func measureImages(b *bench, name string) error {
	for i := range 200 {
		ctx, err := b.context("labels", fmt.Sprintf("FROM bench\nLABEL number=%d\n", i))
		if err != nil {
			return err
		}
		for _, p := range []peer{b.proa, b.podman} {
			if _, err := p.do("build", "-q", "-t", fmt.Sprintf("many:%d", i), ctx); err != nil {
				return err
			}
		}
	}
	args := []string{"images"}
	m, err := b.alternate(timed{peer: b.proa, args: args}, timed{peer: b.podman, args: args})
	if err != nil {
		return err
	}
	b.ratio("images, 200 of them", m[0], m[1], "podman", 0.5)
	return nil
}
